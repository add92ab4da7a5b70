/* libtidegate: a small C client for the native protocol.
 *
 * For backend services and tools: one connection, many requests in flight, answers in any order.
 * A client belongs to one thread at a time; open one per thread. It never starts threads, never
 * installs signal handlers, and its memory is bounded: one received frame, two frames to send and
 * the window. For load generation see loadgen/, which speaks the wire by itself.
 *
 * Three ways to use it:
 *   - tgc_call, tgc_call_until_answered, tgc_place_order: send one request, wait for its answer;
 *   - tgc_send + tgc_poll: send as many as the window holds, take the answers as they come;
 *   - tgc_subscribe + tgc_poll: take events as the server pushes them.
 *
 * A connection is up or lost:
 *
 *   tgc_open -> UP --(closed, reset, broken protocol: TG_ERR_CLOSED, _SYSTEM, _PROTOCOL)--> LOST
 *               ^                                                                             |
 *               +---- tgc_reconnect, tgc_call_until_answered, tgc_place_order <---------------+
 *
 * A server that asks for tokens is shown one by the options, anew on each connection;
 * docs/security.md. Requests that it refuses for who we are, or for the lack of a role, fail with
 * TG_ERR_DENIED.
 *
 * When it is lost, the callbacks in flight are dropped and never run; what was asked by them may
 * or may not have happened. Every fault names the server's address.
 *
 * Retries: tgc_call_until_answered reconnects and sends the same request again until it has an
 * answer or its time is over. It is for requests that are safe to repeat; an order, a change of one
 * or a seat in a team is, by its request id, so nothing is done twice however often the network
 * fails. When time is over the outcome may be unknown: call again with the same request.
 *
 * Events (docs/outbox.md) come in two ways. ConsumeEvents is a request like any other: give
 * tgc_call or tgc_call_until_answered a time-out well above the request's wait_ms. SubscribeEvents
 * is answered many times: tgc_subscribe. Either way, ack with AckEvents what is handled, and keep
 * the last sequence handled to know what comes twice.
 */
#ifndef TG_CLIENT_TIDEGATE_H
#define TG_CLIENT_TIDEGATE_H

#include "base/error.h"
#include "base/histogram.h"
#include "base/order.h"
#include "base/token.h"
#include "proto/verdict.h"

#include <stdbool.h>
#include <stdint.h>

#define TGC_CONNECT_MS_DEFAULT 5000
#define TGC_WINDOW_DEFAULT     1024
#define TGC_WINDOW_MAX         65536

struct tgc_client;

/* TLS 1.3 or 1.2, with a server whose certificate holds: there is no way to go without. All texts
 * are borrowed for tgc_open, all files are PEM. */
struct tgc_tls {
    const char *ca;          /* authorities to believe; NULL: those of the system */
    const char *certificate; /* to show when the server asks for one, with `key`; NULL: none */
    const char *key;
    const char *name; /* whom the server's certificate must name; NULL: the host of `server` */
};

struct tgc_options {
    const char *server;  /* "host:port" or "[v6]:port"; borrowed for the call */
    uint32_t connect_ms; /* for connecting, and for a peer that went silent; 0: 5,000 */
    uint32_t window;     /* requests in flight at most, up to TGC_WINDOW_MAX; 0: 1,024 */
    const char *token;   /* shown on each connection; NULL or "": none; borrowed for the call */
    const struct tgc_tls *tls; /* NULL: plain; borrowed for the call */
};

/* --- lifecycle --- */

/* Connects (TCP_NODELAY), shakes hands when there is to be TLS, and shows the token, if there is
 * one: TG_ERR_DENIED when it is refused, then perhaps after some seconds. TG_ERR_TIMEOUT,
 * TG_ERR_SYSTEM (refused, unreachable, not resolved), TG_ERR_PROTOCOL (no TLS: one side does not
 * believe the other, or speaks none), TG_ERR_INVALID or TG_ERR_NOMEM with the reason; *client is
 * then NULL. Resolving a host name blocks for as long as the system's resolver does, beyond
 * connect_ms if need be. */
enum tg_error tgc_open(const struct tgc_options *options, struct tgc_client **client,
                       struct tg_fault *fault);
/* Closes the connection; requests in flight get no answer (durable ones stay durable). NULL is
 * fine. Not from a callback. */
void tgc_close(struct tgc_client *client);

/* Drops the connection if there is one, with every callback in flight, connects anew and shows the
 * token within `timeout_ms` (0, or above it: the connect_ms of tgc_open). Errors as tgc_open; the
 * client then stays LOST. */
enum tg_error tgc_reconnect(struct tgc_client *client, uint32_t timeout_ms, struct tg_fault *fault);

/* Shows another token from now on, at once and on each connection that follows; "": none. Returns
 * when the server has answered: TG_ERR_DENIED when it is refused, and the connection then speaks
 * for nobody. Other errors as tgc_call. Requests that were sent before are those of the token
 * before. */
enum tg_error tgc_authenticate(struct tgc_client *client, const char *token, uint32_t timeout_ms,
                               struct tg_fault *fault);

/* Reads a token from the first line of a file, or, with `path` NULL, from the environment variable
 * TIDEGATE_TOKEN; "" when there is neither. Never take one from a command line: everybody on the
 * machine can read it there, and it stays in the shell's history. TG_ERR_INVALID when what is found
 * is no token, or when the file can be read by users who neither own it nor are in its group. */
enum tg_error tgc_token_read(const char *path, char token[TG_TOKEN_BYTES_MAX + 1],
                             struct tg_fault *fault);

/* False after the loss of the connection was reported, until tgc_reconnect. */
bool tgc_is_connected(const struct tgc_client *client);

/* --- many in flight --- */

/* Called from everything that waits, once for each answer. `response` is the client's, valid during
 * the call; its kind is that of the request, or error. May call tgc_send and tgc_subscribe on this
 * client, and nothing else that waits or closes. */
typedef void tgc_on_response(void *context, const Tidegate__V1__Response *response);

/* Queues a request (its correlation_id is overwritten) and sends what the socket takes. Never
 * waits; `request` may be freed on return. TG_ERR_FULL when the window is full or 1 MiB waits to
 * be sent: poll first. TG_ERR_INVALID when it names no kind or is larger than its frame may be.
 * TG_ERR_CLOSED when the connection is lost. A connection that breaks right now is reported by the
 * next tgc_poll, after the answers that had already arrived. */
enum tg_error tgc_send(struct tgc_client *client, Tidegate__V1__Request *request,
                       tgc_on_response *on_response, void *context, struct tg_fault *fault);

/* Sends and receives for at most `timeout_ms` (0: does not wait), until at least one answer was
 * handed out; hands out all that came with it. TG_ERR_TIMEOUT when none came; the connection is
 * then still up. TG_ERR_CLOSED, TG_ERR_SYSTEM or TG_ERR_PROTOCOL when it is lost. */
enum tg_error tgc_poll(struct tgc_client *client, uint32_t timeout_ms, struct tg_fault *fault);

/* Requests that wait for an answer, those of a tgc_call that timed out included, and subscriptions.
 */
uint32_t tgc_in_flight(const struct tgc_client *client);

/* Subscribes to events: tgc_send for the one request that is answered again and again. While its
 * answers are OK the subscription goes on and keeps its place in the window; the first that is not,
 * or an error, is the last. It ends with the connection as well, and then without a call: whoever
 * sees tgc_poll fail reconnects and subscribes anew. The server stops at max_unacked events beyond
 * the group's offset until an AckEvents (sent from the callback, say) moves it; a
 * second ack of the group while the first is on its way is answered BUSY. Errors as tgc_send. */
enum tg_error tgc_subscribe(struct tgc_client *client,
                            const Tidegate__V1__SubscribeEventsRequest *subscribe,
                            tgc_on_response *on_response, void *context, struct tg_fault *fault);

/* --- answers --- */

/* What all answers have in common. Texts are the response's, "" where it has none. */
struct tgc_outcome {
    int verdict; /* enum tg_verdict, or what only a newer server knows */
    uint32_t retry_after_ms;
    const char *field; /* these two with INVALID_ARGUMENT */
    const char *message;
};

/* Of a batch: of the batch itself. Of an answer without a verdict: OK; of an error: UNSPECIFIED. */
struct tgc_outcome tgc_outcome_of(const Tidegate__V1__Response *response);

/* --- one at a time --- */

/* Sends one request and waits for its answer; answers of others are handed out meanwhile. The
 * response is the caller's: free it with tgc_response_free. TG_ERR_TIMEOUT when no answer came in
 * time; it keeps its place in the window and is dropped when it comes. An ErrorResponse comes back
 * as TG_ERR_PROTOCOL with its message (TG_ERR_CLOSED when the server says it is overloaded, for it
 * then closes; TG_ERR_DENIED without a token that may do this; TG_ERR_LIMITED when the tenant has
 * to wait, and nothing was done). Other errors as tgc_send and tgc_poll. */
enum tg_error tgc_call(struct tgc_client *client, Tidegate__V1__Request *request,
                       uint32_t timeout_ms, Tidegate__V1__Response **response,
                       struct tg_fault *fault);
void tgc_response_free(Tidegate__V1__Response *response);

/* After TG_ERR_LIMITED: when to come again. */
uint32_t tgc_retry_after_ms(const struct tgc_client *client);

/* Sends a request that is safe to repeat and waits for its answer, reconnecting (with a growing,
 * random back-off) and sending it again, also on BUSY and when the tenant is limited, after the
 * hint, until `timeout_ms` is over. Safe are: all reads; PlaceOrder, PlaceOrders, OpenTeam,
 * JoinTeam and ChangeOrder, by their request ids; IngestOrders, by its external ids; AckEvents;
 * CreateSale, CreateGroup and DeleteGroup, when SALE_EXISTS, GROUP_EXISTS and UNKNOWN_GROUP are
 * taken for done; AdjustStock only with compare_and_set. Other requests in flight are dropped when
 * it has to reconnect. TG_ERR_OK       `*response` is the answer, whatever its verdict; free it
 * with tgc_response_free. BUSY only when time is over and every attempt was answered so: nothing
 * was done. TG_ERR_TIMEOUT  an attempt went out and has no answer: it may have been done. Call
 * again with the same request; the fault names its request id. TG_ERR_SYSTEM   the server was not
 * reached at all: nothing was done. TG_ERR_PROTOCOL the server broke the protocol, or does not know
 * the request: it may have been done. TG_ERR_DENIED   the token is refused, or lacks a role:
 * nothing was done. TG_ERR_LIMITED  the tenant was over its limit in all the time: nothing was
 * done. TG_ERR_FULL     the window had no room in all the time: nothing was done. TG_ERR_INVALID
 * the request cannot be sent. */
enum tg_error tgc_call_until_answered(struct tgc_client *client, Tidegate__V1__Request *request,
                                      uint32_t timeout_ms, Tidegate__V1__Response **response,
                                      struct tg_fault *fault);

/* Places one order of a single item: tgc_call_until_answered for a PlaceOrder, with its errors
 * ("done" is then "the order stands"). TG_ERR_OK: `answer` is the verdict. */
enum tg_error tgc_place_order(struct tgc_client *client, const struct tg_order *order,
                              uint32_t timeout_ms, struct tg_answer *answer,
                              struct tg_fault *fault);

/* --- helpers --- */

/* The buckets of a GetStatsResponse, from and into base/histogram. Take two of them and
 * tg_histogram_between for what happened meanwhile. */
void tgc_histogram_read(Tidegate__V1__HistogramBucket *const *buckets, size_t count,
                        struct tg_histogram *histogram);

/* Splits "host:port" or "[v6]:port" into caller's buffers; the port is 1 to 65535. Resolves
 * nothing. TG_ERR_INVALID when it is neither. */
enum tg_error tgc_parse_address(const char *text, char host[256], char port[8],
                                struct tg_fault *fault);

#endif
