/* What node.c (the work of cores) and decide.c (the decisions) share. */
#ifndef TG_TESTS_SIM_NODE_H
#define TG_TESTS_SIM_NODE_H

#include "tests/sim/sim.h"

/* --- node.c --- */

/* The request is answered: `number` is free again. */
void sim_node_finish(struct world *world, int number, const struct reply *reply);
void sim_node_finish_with(struct world *world, int number, int verdict);
/* Publishes `count` reserved records; the last one is of `task` and of the model's `change`. */
void sim_node_append(struct world *world, int core, uint32_t count, int task, int change);
/* The request is decided again when all that is in flight has completed. With a slot it is a retry
 * that waits for the order in it; ENG_SLOT_NONE without. */
void sim_node_wait_behind_fence(struct world *world, int core, int number, uint32_t slot);
void sim_node_release_holds(struct world *world, int core, struct task *task);
void sim_node_hold_units(struct world *world, int core, int number);

/* --- decide.c --- */

extern const char *const sim_node_step_names[];

void sim_node_decide(struct world *world, int core, int number, enum eng_acquired acquired);
/* What the engine answers, which is what the model says of the order. */
struct reply sim_node_order_reply(struct world *world, int number, const struct tg_answer *answer);
void sim_node_engine_order(struct world *world, const struct m_request *request,
                           struct tg_order *order, uint8_t external[4]);
/* The engine's step and verdict against the model's. */
void sim_node_agree(struct world *world, const char *what, enum m_step step, int verdict,
                    bool replayed, const struct m_answer *expected);
enum m_step sim_node_step_of(enum eng_step step);
/* A bounded table of the shard is full: what would be accepted may be BUSY. */
bool sim_node_is_full(const struct world *world, int core);

#endif
