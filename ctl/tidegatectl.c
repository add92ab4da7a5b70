/* tidegatectl: the operator's hand. Reads the command line, runs one command. */
#include "ctl/ctl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    struct ctl ctl;
    enum ctl_exit code = ctl_args_read(&ctl, argc, argv);
    if (code)
        return code;
    if (ctl.wants_version)
        printf("tidegatectl %s\n", TG_VERSION);
    else if (ctl.wants_help)
        ctl_help_print(&ctl);
    else
        code = ctl.command->run(&ctl);
    tgc_close(ctl.client);
    /* A list that was cut by a full disk must not look whole. */
    if (fflush(stdout) != 0 || ferror(stdout))
        return ctl_complain(CTL_UNREACHABLE, "cannot write the output: %s", strerror(errno));
    return code;
}
