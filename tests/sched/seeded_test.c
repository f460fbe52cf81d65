/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seeded order: the same seed gives the same interleaving, many seeds give many, and under all
 * of them the invariants of small concurrent programs hold. Time is simulated: when nothing is
 * runnable the clock jumps to the next deadline, and a deadlock is a panic, not a hang.
 */
#include "tests/unit/base/sched_scene.h"

#define TRACE_MAX 65536

static u64 now_ns;
static u32 trace[TRACE_MAX];
static u32 trace_len;

static u64 simulated_clock(void)
{
    return now_ns;
}

static void simulated_wait(u64 deadline)
{
    CHECK(deadline != CLOCK_NEVER, "deadlock: nothing runnable and no timer");
    now_ns = max(now_ns, deadline);
}

static void simulated_ring(void)
{
}

static const struct sched_idle_ops simulated_ops = {.wait = simulated_wait, .ring = simulated_ring};

static void run_seed(u64 seed, fiber_fn fn)
{
    now_ns = NSEC_PER_SEC;
    trace_len = 0;
    scene_run_ops(1, seed, &simulated_ops, fn, NULL);
}

static void note(u32 who, u32 what)
{
    CHECK(trace_len < TRACE_MAX, "trace is full");
    trace[trace_len++] = who << 16 | what;
}

static u64 trace_hash(void)
{
    u64 h = trace_len;

    for (u32 i = 0; i < trace_len; i++) {
        h = (h ^ trace[i]) * 0x100000001b3UL;
    }
    return h;
}

static u64 nr_seeds(void)
{
    return max(scene_rounds(300), (u64)30);
}

/* ---- a bounded buffer: producers and consumers with time-outs ---- */

#define BUF_SIZE  3U
#define PRODUCERS 3U
#define ITEMS     12U

static struct {
    struct mutex lock;
    struct waitq not_empty;
    struct waitq not_full;
    u32 items[BUF_SIZE]; /* (lock) */
    u32 head;            /* (lock) */
    u32 count;           /* (lock) */
    u32 taken;           /* (lock) */
    u32 next[PRODUCERS]; /* (lock) the item expected next of each */
} buf;

static bool buf_put(u32 item)
{
    MUTEX_GUARD(&buf.lock);
    CHECK(buf.count <= BUF_SIZE, "overflow");
    if (buf.count == BUF_SIZE) {
        return false;
    }
    buf.items[(buf.head + buf.count++) % BUF_SIZE] = item;
    return true;
}

static bool buf_take(u32 *item)
{
    MUTEX_GUARD(&buf.lock);
    if (buf.count == 0) {
        return false;
    }
    *item = buf.items[buf.head];
    buf.head = (buf.head + 1) % BUF_SIZE;
    buf.count--;
    buf.taken++;
    CHECK(*item % 100 == buf.next[*item / 100], "item %u out of order", *item);
    buf.next[*item / 100]++;
    return true;
}

static bool buf_is_done(void)
{
    MUTEX_GUARD(&buf.lock);
    return buf.taken == PRODUCERS * ITEMS;
}

static void buf_producer(void *arg)
{
    u32 me = (u32)(u64)arg;

    for (u32 i = 0; i < ITEMS; i++) {
        int ret = waitq_wait_event(&buf.not_full, buf_put(me * 100 + i), PARK_UNINTERRUPTIBLE,
                                   CLOCK_NEVER);

        CHECK(ret == 0, "put says %d", ret);
        note(me, i);
        waitq_wake_all(&buf.not_empty);
        if (i % 4 == me) {
            scene_sleep(NSEC_PER_MSEC * (me + 1));
        }
    }
}

static void buf_consumer(void *arg)
{
    u32 me = (u32)(u64)arg;
    u32 item = 0;

    while (!buf_is_done()) {
        int ret = waitq_wait_event(&buf.not_empty, buf_take(&item), PARK_UNINTERRUPTIBLE,
                                   now_ns + me * NSEC_PER_MSEC);

        CHECK(ret == 0 || ret == -ETIMEDOUT, "take says %d", ret);
        note(me, ret == 0 ? 1000 + item : 2000);
        if (ret == 0) {
            waitq_wake_all(&buf.not_full);
        }
    }
}

static void buf_main(void *arg)
{
    memset(&buf, 0, sizeof(buf));
    mutex_init(&buf.lock, LOCK_PIPE);
    waitq_init(&buf.not_empty);
    waitq_init(&buf.not_full);
    for (u64 i = 0; i < PRODUCERS; i++) {
        (void)scene_spawn("producer", buf_producer, (void *)i);
    }
    for (u64 i = 0; i < 2; i++) {
        (void)scene_spawn("consumer", buf_consumer, (void *)(i + 10));
    }
    scene_join();
    CHECK(buf.count == 0 && buf.taken == PRODUCERS * ITEMS, "%u left, %u taken", buf.count,
          buf.taken);
    waitq_fini(&buf.not_empty);
    waitq_fini(&buf.not_full);
}

static void same_seed_same_trace(void **state)
{
    (void)state;
    for (u64 seed = 1; seed <= nr_seeds() / 10; seed++) {
        u64 first;

        run_seed(seed, buf_main);
        first = trace_hash();
        run_seed(seed, buf_main);
        assert_int_equal(trace_hash(), first);
    }
}

static int compare_u64(const void *a, const void *b)
{
    u64 x = *(const u64 *)a;
    u64 y = *(const u64 *)b;

    return x < y ? -1 : x > y;
}

static void other_seeds_other_traces(void **state)
{
    u64 n = nr_seeds();
    u64 *hashes = calloc(n, sizeof(u64));
    u64 distinct = 1;

    (void)state;
    assert_non_null(hashes);
    for (u64 seed = 1; seed <= n; seed++) {
        run_seed(seed, buf_main);
        hashes[seed - 1] = trace_hash();
    }
    qsort(hashes, n, sizeof(u64), compare_u64);
    for (u64 i = 1; i < n; i++) {
        distinct += hashes[i] != hashes[i - 1];
    }
    free(hashes);
    assert_true(distinct >= n - n / 20);
}

/* ---- transfers between accounts: two locks of a rank, and a reader of all ---- */

#define ACCOUNTS 5U
#define MONEY    100U

static struct {
    struct mutex lock[ACCOUNTS];
    u32 money[ACCOUNTS]; /* (lock) */
    struct rwlock audit; /* transfers read, audits write */
} bank;

static void transfer(u64 from, u64 to)
{
    READ_GUARD(&bank.audit);
    mutex_lock_two(&bank.lock[from], &bank.lock[to]);
    if (bank.money[from] > 0) {
        u32 money = bank.money[to];

        bank.money[from]--;
        fiber_yield();
        bank.money[to] = (from == to ? bank.money[from] : money) + 1;
    }
    mutex_unlock_two(&bank.lock[from], &bank.lock[to]);
}

static void bank_clerk(void *arg)
{
    for (u64 i = 0; i < 20; i++) {
        transfer(scene_random(ACCOUNTS), scene_random(ACCOUNTS));
    }
}

static void bank_auditor(void *arg)
{
    for (int i = 0; i < 10; i++) {
        u32 sum = 0;

        WRITE_GUARD(&bank.audit);
        for (size_t a = 0; a < ACCOUNTS; a++) {
            sum += bank.money[a];
            fiber_yield();
        }
        CHECK(sum == ACCOUNTS * MONEY, "%u in the bank", sum);
    }
}

static void bank_main(void *arg)
{
    rwlock_init(&bank.audit, LOCK_MM);
    for (size_t i = 0; i < ACCOUNTS; i++) {
        mutex_init(&bank.lock[i], LOCK_FUTEX);
        bank.money[i] = MONEY;
    }
    for (int i = 0; i < 4; i++) {
        (void)scene_spawn("clerk", bank_clerk, NULL);
    }
    (void)scene_spawn("auditor", bank_auditor, NULL);
}

static void transfers_keep_the_sum(void **state)
{
    (void)state;
    for (u64 seed = 1; seed <= nr_seeds(); seed++) {
        run_seed(seed, bank_main);
    }
}

/* ---- park, wake, interrupt and kill in every order ---- */

static struct {
    struct waitq wq;
    struct mutex lock;
    struct fiber *victim; /* (lock) */
    bool flag;
    bool over;
} duel;

static void duel_victim(void *arg)
{
    int ret;

    ret = waitq_wait_event(&duel.wq, duel.flag, PARK_INTERRUPTIBLE, now_ns + NSEC_PER_MSEC);
    CHECK(ret != 0 || duel.flag, "woken for nothing");
    CHECK(ret != -ERESTARTSYS || fiber_is_interrupted(), "no interrupt");
    note(1, (u32)-ret);
    if (mutex_lock_killable(&duel.lock) != 0) {
        note(2, 1);
        fiber_clear_interrupt();
        mutex_lock(&duel.lock);
    }
    duel.victim = NULL;
    mutex_unlock(&duel.lock);
}

static void duel_waker(void *arg)
{
    scene_sleep(NSEC_PER_MSEC - scene_random(2));
    duel.flag = true;
    waitq_wake_all(&duel.wq);
}

static void duel_killer(void *arg)
{
    bool is_fatal = scene_random(2) == 0;

    scene_sleep(NSEC_PER_MSEC - scene_random(2));
    mutex_lock(&duel.lock);
    if (duel.victim != NULL) {
        fiber_interrupt(duel.victim, is_fatal);
    }
    fiber_yield();
    if (duel.victim != NULL) {
        fiber_interrupt(duel.victim, is_fatal);
    }
    mutex_unlock(&duel.lock);
}

static void duel_main(void *arg)
{
    memset(&duel, 0, sizeof(duel));
    waitq_init(&duel.wq);
    mutex_init(&duel.lock, LOCK_LEAF);
    duel.victim = scene_spawn("victim", duel_victim, NULL);
    (void)scene_spawn("waker", duel_waker, NULL);
    (void)scene_spawn("killer", duel_killer, NULL);
    scene_join();
    CHECK(atomic_load(&duel.lock.word) == 0, "left free");
    waitq_fini(&duel.wq);
}

static void wakes_time_outs_and_kills_in_every_order(void **state)
{
    u32 seen[3] = {0};

    (void)state;
    for (u64 seed = 1; seed <= nr_seeds() * 2; seed++) {
        run_seed(seed, duel_main);
        for (u32 i = 0; i < trace_len; i++) {
            seen[0] += trace[i] == (1U << 16);
            seen[1] += trace[i] == (1U << 16 | ERESTARTSYS);
            seen[2] += trace[i] == (2U << 16 | 1);
        }
    }
    /* The seeds found the orders in which each happens. */
    assert_true(seen[0] > 0 && seen[1] > 0 && seen[2] > 0);
}

/* ---- a program with a race is caught ---- */

static u32 racy;
static struct spinlock point;

static void racy_fiber(void *arg)
{
    for (int i = 0; i < 3; i++) {
        u32 copy = racy;

        spin_lock(&point); /* only a preemption point */
        spin_unlock(&point);
        racy = copy + 1;
    }
}

static void racy_main(void *arg)
{
    racy = 0;
    (void)scene_spawn("racy", racy_fiber, NULL);
    (void)scene_spawn("racy", racy_fiber, NULL);
    scene_join();
    note(0, racy);
}

static void a_lost_update_is_found(void **state)
{
    u64 lost = 0;
    u64 kept = 0;

    (void)state;
    for (u64 seed = 1; seed <= nr_seeds(); seed++) {
        run_seed(seed, racy_main);
        lost += trace[0] < 6;
        kept += trace[0] == 6;
    }
    assert_true(lost > 0);
    assert_true(kept > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_seed_same_trace),
        cmocka_unit_test(other_seeds_other_traces),
        cmocka_unit_test(transfers_keep_the_sum),
        cmocka_unit_test(wakes_time_outs_and_kills_in_every_order),
        cmocka_unit_test(a_lost_update_is_found),
    };

    if (heap_init() != 0) {
        return 1;
    }
    clock_set_source(simulated_clock);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
