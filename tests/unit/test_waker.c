/* The waker, sleeper and waker played by hand in one thread. Nothing here waits for time to pass:
 * every wait either finds its wake-up already there or has a timeout of nothing. */
#include "base/waker.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <unistd.h>

static struct tg_waker waker_make(void)
{
    struct tg_waker waker;
    struct tg_fault fault;
    cr_assert_eq(tg_waker_init(&waker, &fault), TG_ERR_OK, "%s", fault.text);
    cr_assert_eq(fcntl(waker.event_fd, F_SETFL, O_NONBLOCK), 0);
    return waker;
}

/* Wake-ups written to the eventfd since the last look. */
static uint64_t wakeups(struct tg_waker *waker)
{
    uint64_t count = 0;
    return read(waker->event_fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

Test(waker, costs_no_system_call_while_nobody_sleeps)
{
    struct tg_waker waker = waker_make();
    tg_waker_wake(&waker);
    tg_waker_wake(&waker);
    cr_assert_eq(wakeups(&waker), 0);
    tg_waker_fini(&waker);
}

Test(waker, wakes_whoever_said_that_it_sleeps)
{
    struct tg_waker waker = waker_make();
    tg_waker_doze(&waker);
    tg_waker_wake(&waker);
    cr_assert_eq(wakeups(&waker), 1);
    tg_waker_fini(&waker);
}

Test(waker, one_sleep_takes_one_wake_up_from_many_wakers)
{
    struct tg_waker waker = waker_make();
    tg_waker_doze(&waker);
    for (int i = 0; i < 5; i++)
        tg_waker_wake(&waker);
    cr_assert_eq(wakeups(&waker), 1);
    tg_waker_fini(&waker);
}

Test(waker, after_rising_there_is_nobody_to_wake)
{
    struct tg_waker waker = waker_make();
    tg_waker_doze(&waker);
    tg_waker_rise(&waker);
    tg_waker_wake(&waker);
    cr_assert_eq(wakeups(&waker), 0);
    tg_waker_fini(&waker);
}

Test(waker, a_wake_up_between_dozing_and_waiting_is_not_lost)
{
    struct tg_waker waker = waker_make();
    tg_waker_doze(&waker);
    tg_waker_wake(&waker);
    tg_waker_wait(&waker, -1); /* returns at once, or the test runs into its time limit */
    cr_assert_eq(wakeups(&waker), 0, "the wait takes the wake-up");
    tg_waker_rise(&waker);

    tg_waker_doze(&waker);
    tg_waker_wake(&waker);
    cr_assert_eq(wakeups(&waker), 1, "the next sleep has its own wake-up");
    tg_waker_fini(&waker);
}

Test(waker, a_wait_without_a_wake_up_ends_by_its_timeout)
{
    struct tg_waker waker = waker_make();
    tg_waker_doze(&waker);
    tg_waker_wait(&waker, 0);
    tg_waker_rise(&waker);
    cr_assert_eq(wakeups(&waker), 0);
    tg_waker_fini(&waker);
}

Test(waker, its_descriptor_is_not_inherited)
{
    struct tg_waker waker = waker_make();
    cr_assert(fcntl(waker.event_fd, F_GETFD) & FD_CLOEXEC);
    tg_waker_fini(&waker);
}
