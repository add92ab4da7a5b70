/* What the files of the model share, each of which is one page of docs/ told in C:
 *
 *   model.c        places, drafts of changes, the way to the disk and back, crashes
 *   model_stock.c  sales, units, who has how much     docs/protocol.md, docs/architecture.md
 *   model_place.c  new orders of every kind           docs/protocol.md
 *   model_life.c   states and changes of an order     docs/order-life.md
 *   model_money.c  payments and refunds               docs/order-life.md
 *   model_team.c   teams                              docs/group-buy.md
 *   model_group.c  consumer groups, retention         docs/outbox.md
 *
 * Private to these files. */
#ifndef TG_TESTS_SIM_MODEL_INNER_H
#define TG_TESTS_SIM_MODEL_INNER_H

#include "tests/sim/model.h"

/* A change being put together. */
struct draft {
    struct model *m;
    int64_t now_ms;
    struct m_change change;
    struct m_team *team; /* the next one, when it changes */
    int touched[M_SEATS + 1];
};

/* --- model.c --- */

bool m_stands(int state);
/* The place of the order that is known by this request id, or M_NONE. */
int m_find_id(const struct model *m, const uint64_t id[2]);
void m_remember_id(struct model *m, int place, const uint64_t id[2]);
void m_forget_id(struct model *m, int place);
int m_free_order(const struct model *m);
int m_free_team(const struct model *m);
void m_copy_order(struct m_order *to, const struct m_order *from);
struct draft m_draft_begin(struct model *m, int home, int64_t now_ms);
struct m_order *m_draft_order(struct draft *d, int place);
struct m_team *m_draft_team(struct draft *d, int place);
struct m_answer m_record(struct draft *d, struct m_answer answer);
struct m_answer m_final(int verdict);
struct m_answer m_step_of(enum m_step step);

/* --- model_group.c --- */

void m_commit_group(struct model *m, const struct m_change *change);
void m_settle_group(struct model *m, const struct m_change *change);
void m_crash_groups(struct model *m);

/* --- model_stock.c --- */

bool m_is_new_buyer(const struct model *m, int sale, int user);
int m_open_teams(const struct model *m, int sale, int user);
void m_move_units(struct m_item *item, int from, int to, int64_t quantity);
int m_units_when_placed(int policy);
int m_check_window(const struct m_sale *sale, int64_t now_ms);
int m_check_line(const struct model *m, const struct m_take *take, const struct m_line *line,
                 int64_t now_ms);
bool m_check_take(const struct model *m, const struct m_take *take, int shard, int64_t now_ms,
                  int verdicts[M_LINES]);
int m_first_refusal(const int verdicts[M_LINES], int count);
bool m_is_spread(const struct model *m, const struct m_take *take);
void m_sale_is_in(struct model *m, int sale, int state);
void m_sale_settle(struct model *m);
bool m_take_is_not_counted(const struct model *m, const struct m_take *take, int64_t now_ms);
void m_drop_hold(struct model *m, const struct m_take *take, int shard);

/* --- model_life.c --- */

void m_order_event(struct m_order *order, int type);
void m_team_event(struct m_team *team, int type);
void m_go_to(struct m_order *order, int state, int64_t now_ms);

/* --- model_money.c --- */

int64_t m_money_left(const struct m_order *order);
int m_refund_add(struct m_order *order, int64_t amount, int cause, int status);
void m_refund_becomes_due(struct m_order *order, int number);
int m_refund_owed(struct m_order *order, int64_t amount, int cause);
void m_payment_add(struct m_order *order, const struct m_payment *payment, int status, int verdict,
                   int refund);
int m_order_ends(struct m_order *order, int state, int cause, int64_t now_ms);
void m_end_when_whole(struct m_order *order, int64_t now_ms);
struct m_answer m_pay(struct draft *d, int place, const struct m_payment *payment,
                      enum m_acquired acquired, struct m_take *take);

/* --- model_place.c --- */

bool m_same_payment(const struct m_payment *a, const struct m_payment *b);
struct m_take m_take_of(const struct m_request *body, int before, int after, bool begins);
int m_order_create(struct draft *d, const struct m_request *body);
int m_take_at_own_price(const struct model *m, struct m_take *take, int64_t now_ms);
struct m_answer m_accepted(struct draft *d, int place);

/* --- model_team.c --- */

bool m_has_user(const struct m_team *team, int user);
void m_team_is_left(struct draft *d, int place);
void m_seat_is_paid(struct draft *d, int place);
struct m_answer m_open_team(struct model *m, const struct m_request *request, int64_t now_ms);
struct m_answer m_join_team(struct model *m, const struct m_request *request, int64_t now_ms);

#endif
