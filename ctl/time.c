#include "base/clock.h"
#include "ctl/ctl.h"
#include "ctl/text.h"

#include <inttypes.h>
#include <stdio.h>

enum ctl_exit ctl_time(struct ctl *ctl)
{
    char text[CTL_TIME_BYTES];
    int64_t server_ms;
    /* The first call connects too; the second is the one to measure. */
    enum ctl_exit code = ctl_server_time(ctl, &server_ms);
    if (code)
        return code;
    int64_t before_ns = tg_clock_wall_ns(), begin_ns = tg_clock_mono_ns();
    code = ctl_server_time(ctl, &server_ms);
    if (code)
        return code;
    int64_t trip_ns = tg_clock_mono_ns() - begin_ns;
    /* The server read its clock somewhere on the way: half of the way is the best guess. */
    int64_t ahead_ms = server_ms - (before_ns + trip_ns / 2) / TG_NS_PER_MS;
    if (ctl->json)
        ctl_json_print(json_pack("{s:I, s:I, s:I}", "server_time_ms", (json_int_t)server_ms,
                                 "server_ahead_ms", (json_int_t)ahead_ms, "round_trip_ns",
                                 (json_int_t)trip_ns));
    else
        printf("%s  server clock %+" PRId64 " ms from this machine's, round trip %.3f ms\n",
               ctl_time_text(server_ms, text), ahead_ms, (double)trip_ns / 1e6);
    return CTL_DONE;
}
