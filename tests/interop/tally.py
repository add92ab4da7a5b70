"""Named checks of a client, counted: a line for each, and in the end how many passed."""
import sys
import traceback


class Tally:
    def __init__(self, client):
        self.client = client
        self.passed = self.failed = 0

    def check(self, name):
        """Runs the function that it decorates, at once."""
        def run(body):
            try:
                body()
                self.passed += 1
                print(f'ok    {self.client}: {name}')
            except Exception:  # pylint: disable=broad-except
                self.failed += 1
                print(f'FAIL  {self.client}: {name}')
                traceback.print_exc(file=sys.stdout)
        return run

    def end(self):
        """Says the counts and ends the program."""
        print(f'{self.passed} passed, {self.failed} failed')
        sys.exit(self.failed != 0)
