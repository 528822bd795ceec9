/* One run on many machines: its orders stand in segments, which workers take, and somebody may take the whole run.

   What becomes of one order, whatever is lost, is for direct.pml and two_phase.pml, which know neither locks nor
   leases. This one has several orders in a run, and asks what the rows of segments and runs say of all of them.
   models/README.md says how to run it, what it leaves out, and which function of the package does each step.

   The rules. Each may be taken away by -DNAME=0, and then an assertion must fail: */
#ifndef RUN         /* every write carries the run's epoch, which whoever takes the whole run raises */
#define RUN 1
#endif
#ifndef SEGMENT     /* a worker's every write carries its segment's epoch, which whoever takes the segment raises */
#define SEGMENT 1
#endif
#ifndef CHUNK       /* what is claimed is marked under the epoch of its claim only */
#define CHUNK 1
#endif
#ifndef SWAP        /* what is claimed waits at that moment; what is marked is in the state that leads there */
#define SWAP 1
#endif
#ifndef OPEN        /* a run that somebody takes whole is closed: its segments are for nobody until it is put up again */
#define OPEN 1
#endif
#ifndef DOUBT       /* direct: what a worker was sending whose segment was taken is in doubt, and not sent again */
#define DOUBT 1
#endif
#ifndef ENDED       /* a segment is over only when no order of it waits, or is on its way; in the same write */
#define ENDED 1
#endif
#ifndef AGAIN       /* a run that is put up again has those segments open in which there is work, whatever they were */
#define AGAIN 1
#endif

#ifndef TWO_PHASE   /* 0: direct */
#define TWO_PHASE 0
#endif
#ifndef DOUBLES     /* 1: look for doubles only, not for what is untrue in the ledger */
#define DOUBLES 0
#endif
#ifndef REACH       /* 1: tell each state that an order gets into; what a model never does it proves nothing of */
#define REACH 0
#endif

/* The size. A worker of the model takes one segment, or the run, once: one that comes again is another worker. */
#ifndef SETTLE      /* 1: in the end, after all troubles, the run is put up again where it must be, and worked off */
#define SETTLE 0
#endif
#ifndef WORKERS
#define WORKERS 3
#endif
#ifndef ORDERS
#define ORDERS 2
#endif
#ifndef SEGMENTS
#define SEGMENTS 1
#endif
#ifndef TROUBLES    /* lost answers, tries that never left, stops by a brake: together. Freezes are not counted */
#define TROUBLES 2
#endif
#define WHOLE       9               /* the "segment" of whoever has the run */
#define NOBODY      0
#define TASKS       (3 + SETTLE)    /* drafts of an order */

mtype = { PENDING, SENDING, DRAFTING, DRAFTED, BROADCASTING, CREATED, IN_DOUBT, REFUSED, CANCELLED };
mtype = { DRAFT, LIVE, GONE_BACK };

/* --- the ledger -------------------------------------------------------------------------------------------------- */

/* An epoch tells one holder from all others, so it stands here for who that is: the worker's number, from 1. */
byte  run_epoch = NOBODY;       /* who took the whole run last */
bool  open = true;              /* the run is put up: workers may take its segments */
bool  done = false;
byte  segment_epoch[SEGMENTS];  /* who took the segment last */
bool  over[SEGMENTS];
mtype state[ORDERS];
byte  epoch[ORDERS];            /* of its chunk: who claimed it, NOBODY when the claim has ended or was taken away */
byte  recorded[ORDERS];         /* two-phase: the draft; direct: 1 for any task */

/* --- the service ------------------------------------------------------------------------------------------------- */

byte  live[ORDERS];             /* drivers called for the order, at this moment */
bool  anew[ORDERS];             /* by another run: its key was free, and it was pushed again */
#if TWO_PHASE
byte  tasks[ORDERS];
mtype task[ORDERS * (TASKS + 1)];
#define TASK(o, t) task[(o) * (TASKS + 1) + (t)]
#endif

/* --- whoever works ----------------------------------------------------------------------------------------------- */

byte  started = 0;
byte  troubles = TROUBLES;
bool  undone = false;           /* somebody was told that the run is taken back, and it was not put up again since */
bool  still = false;            /* the troubles are over, and all workers so far are dead */

#define ME          (number + 1)
#define UNLUCKY     troubles > 0 -> troubles--
#define TURN        started == number   /* they are all alike: it is enough that they begin in turn */
#define MINE_IS(o)  (g == WHOLE || (o) % SEGMENTS == g)
#define HELD        ((!RUN || run_epoch == h) && (g == WHOLE || !SEGMENT || segment_epoch[g] == ME))
#define MINE        (HELD && (!CHUNK || epoch[o] == ME))
#define ON_ITS_WAY(s) (s == SENDING || s == DRAFTING || s == BROADCASTING)
#define WORK(s)     (s == PENDING || s == DRAFTED || ON_ITS_WAY(s))
#define IN(s)       (!SWAP || state[o] == s)
#define EACH(what)  (what(0) && what(LAST))
#define ANY(what)   (what(0) || what(LAST))
#define LAST        (ORDERS - 1)
#define ONCE(o)         (live[o] <= 1)
#define TRUE(o)         ((state[o] != PENDING && state[o] != DRAFTED && !FREED(o) || live[o] == anew[o]) && \
                         (state[o] != CREATED || recorded[o] != 0))
#define FREED(o)        (state[o] == REFUSED || state[o] == CANCELLED)
#define OVER(o)         (!over[(o) % SEGMENTS] || !WORK(state[o]))
#define QUIET(o)        (!ON_ITS_WAY(state[o]))
#define NO_WORK(o)      (!WORK(state[o]))
#define ENDED_HERE(o)   (!MINE_IS(o) || !WORK(state[o]))
#define LEFT(o)         (MINE_IS(o) && seen[o])
#define CLEARED     g = 0; o = 0; h = 0; t = 0; seen[0] = false; seen[LAST] = false; clean = false; refused = false
#define TO_UNDO(o)  (recorded[o] != 0 && (state[o] == CREATED || state[o] == DRAFTED || state[o] == BROADCASTING))
#define TO_READ(o)  (recorded[o] != 0 && state[o] == IN_DOUBT)      /* reconcile finds its draft to be one still */

#if REACH
#define TELL(s) printf("reached %d\n", s)
#else
#define TELL(s) skip
#endif

/* What must hold in every state that can be reached. */
inline judge() {
    assert(EACH(ONCE));                                 /* no order is doubled */
#if !DOUBLES
    assert(EACH(TRUE));
    assert(!open || EACH(OVER));                        /* of what is over nothing waits, or is on its way */
    assert(!done || over[0] && over[SEGMENTS - 1]);
    assert(!undone || EACH(QUIET))                      /* nothing is sent of what is undone */
#endif
}
/* --- single writes ----------------------------------------------------------------------------------------------- */

inline mark(target) {
    state[o] = target;
    if
    :: !ON_ITS_WAY(state[o]) -> epoch[o] = NOBODY
    :: else -> skip
    fi;
    TELL(state[o]);
    judge()
}

inline claim(target) { epoch[o] = ME; mark(target) }

/* A worker's take: of a segment that is not over, of a run that is open. Whether anybody has it is not asked: a lease
   may be over though its holder lives, so nothing that is shown here rests on leases. */
inline take(which) { started++; g = which; h = run_epoch; segment_epoch[g] = ME }

/* Somebody takes the whole run, to resume it by himself, or to undo it. */
inline hold() {
    started++; g = WHOLE; run_epoch = ME; h = ME; undone = false;
    if
    :: OPEN -> open = false
    :: else -> skip
    fi
}

/* The run is put up for workers (again): by whoever holds it whole. */
inline put_up() {
    open = true; undone = false;
    for (o : 0 .. SEGMENTS - 1) {
        if
        :: AGAIN -> over[o] = true
        :: else -> skip
        fi
    };
    for (o : 0 .. LAST) {
        if
        :: AGAIN && WORK(state[o]) -> over[o % SEGMENTS] = false
        :: else -> skip
        fi
    };
    done = done && EACH(NO_WORK);
    o = 0
}

#if TWO_PHASE
inline broadcast() {
    if
    :: TASK(o, t) == DRAFT -> TASK(o, t) = LIVE; live[o]++; judge()
    :: else -> skip
    fi
}
inline cancel() {
    if
    :: TASK(o, recorded[o]) == LIVE -> live[o]--
    :: else -> skip
    fi;
    TASK(o, recorded[o]) = GONE_BACK
}
#else
inline cancel() { live[o]-- }
#endif

#if SETTLE
/* What the last worker does, with whom nothing goes wrong. */
inline settle() {
    if
    :: state[o] == SENDING -> mark(IN_DOUBT)
    :: state[o] == PENDING && !TWO_PHASE -> live[o]++; recorded[o] = 1; mark(CREATED)
#if TWO_PHASE
    :: state[o] == PENDING || state[o] == DRAFTING ->
       tasks[o]++; TASK(o, tasks[o]) = LIVE; recorded[o] = tasks[o]; live[o]++; mark(CREATED)
    :: state[o] == DRAFTED || state[o] == BROADCASTING ->
       mark(BROADCASTING); t = recorded[o]; broadcast();
       if
       :: TASK(o, t) == LIVE -> mark(CREATED)
       :: else -> mark(CANCELLED)
       fi
#endif
    fi
}
#endif

/* --- a worker, or somebody with the whole run -------------------------------------------------------------------- */

/* It may stop between any two steps, for any time: a kill is a stop without an end. */
proctype worker(byte number) {
    byte g = 0, o = 0, h = 0, t = 0;
    bool seen[ORDERS];      /* what it has found to wait, and not sent yet */
    bool clean = false, refused = false;
    {
    if
    :: atomic { TURN && open && !over[0] -> take(0) }
    :: atomic { TURN && SEGMENTS > 1 && open && !over[SEGMENTS - 1] -> take(SEGMENTS - 1) }
    :: atomic { TURN && number > 0 -> hold() }
    fi;

recover:    /* one write: what a former holder of these orders was doing is in doubt, or is drafted anew */
    atomic {
        if
        :: HELD ->
           for (o : 0 .. LAST) {
               if
               :: MINE_IS(o) && (state[o] == SENDING || state[o] == DRAFTING) ->
                  /* What the newest holder of a segment is sending, nobody else calls in doubt. */
                  assert(DOUBLES || g == WHOLE || segment_epoch[g] == ME || epoch[o] != segment_epoch[g]);
                  if
                  :: state[o] == SENDING && DOUBT -> mark(IN_DOUBT)
                  :: else -> mark(PENDING)
                  fi
               :: else -> skip
               fi;
               seen[o] = MINE_IS(o) && WORK(state[o])
           };
           o = 0
        :: else -> goto left
        fi
    };
    if
    :: g == WHOLE -> goto undo
    :: goto next
    fi;

next:       /* take up an order that was found to wait */
    atomic {
        clean = false; refused = false; t = 0;
        if
        :: LEFT(0) -> o = 0
        :: ORDERS > 1 && LEFT(LAST) -> o = LAST
        :: !ANY(LEFT) -> goto end_segment
        fi;
        seen[o] = false
    };
    if
    :: atomic { HELD && IN(PENDING) && !(TWO_PHASE && recorded[o] != 0) ->
           claim((TWO_PHASE -> DRAFTING : SENDING)) }
#if TWO_PHASE
    :: atomic { HELD && state[o] == DRAFTED -> t = recorded[o]; clean = true; claim(BROADCASTING) } -> goto send
    :: atomic { HELD && state[o] == BROADCASTING -> t = recorded[o]; claim(BROADCASTING) } -> goto look
#endif
    :: else -> goto next        /* another's by now, or settled */
    fi;

#if TWO_PHASE
draft:
    if
    :: atomic { tasks[o] < 3 -> tasks[o]++; t = tasks[o]; TASK(o, t) = DRAFT }
    :: atomic { tasks[o] < 3 && troubles > 0 -> troubles--; tasks[o]++; TASK(o, tasks[o]) = DRAFT } -> goto unsent
    :: atomic { UNLUCKY } -> goto unsent
    :: tasks[o] == 3 -> goto left
    fi;

keep:       /* the draft's id, and the intent to broadcast it; a recorded id is never replaced */
    atomic {
        if
        :: MINE && state[o] == DRAFTING && recorded[o] == 0 -> recorded[o] = t; clean = true; mark(BROADCASTING)
        :: else -> goto left
        fi
    };

send:       /* a broadcast acts on a draft, and on nothing else */
    if
    :: atomic { TASK(o, t) != GONE_BACK -> refused = false; broadcast() } -> goto there
    /* Its answer is lost; it is lost; it certainly never left; it is refused: */
    :: atomic { UNLUCKY; refused = false; clean = false; broadcast() } -> goto look
    :: atomic { UNLUCKY; refused = false; clean = false } -> goto look
    :: atomic { UNLUCKY; refused = false } -> goto look
    :: atomic { UNLUCKY; refused = true } -> goto look
    :: atomic { TASK(o, t) == GONE_BACK -> refused = true } -> goto look
    fi;

look:       /* read the task; the read may fail, or say 404 */
    if
    :: TASK(o, t) == LIVE -> goto there
    :: TASK(o, t) == GONE_BACK -> goto taken_back
    :: TASK(o, t) == DRAFT && refused && clean -> goto said_no
    :: TASK(o, t) == DRAFT && !(refused && clean) -> goto send
    :: TASK(o, t) == DRAFT && !(refused && clean) -> goto give_up
    :: atomic { UNLUCKY } -> goto give_up
    :: atomic { UNLUCKY } -> goto unknown
    fi;

give_up:    /* back to drafted if certainly nothing left; else it stays broadcasting */
    atomic {
        if
        :: clean && MINE && state[o] == BROADCASTING -> mark(DRAFTED)
        :: else -> skip
        fi
    };
    goto end_segment;

taken_back:
    atomic {
        if
        :: MINE && state[o] == BROADCASTING -> mark(CANCELLED)
        :: else -> skip
        fi
    };
    goto next;
#else
send:
    if
    :: atomic { true -> live[o]++; judge() } -> goto there
    /* Its answer is lost; it is lost; it certainly never left, or 429; it is refused: */
    :: atomic { UNLUCKY; live[o]++; judge() } -> goto unknown
    :: atomic { UNLUCKY } -> goto unknown
    :: atomic { UNLUCKY } -> goto unsent
    :: atomic { UNLUCKY } -> goto said_no
    fi;
#endif

there:
    atomic {
        if
        :: MINE && (!SWAP || state[o] == SENDING || state[o] == BROADCASTING) || HELD && state[o] == IN_DOUBT ->
           recorded[o] = (recorded[o] == 0 -> 1 : recorded[o]); mark(CREATED)
        :: else -> skip
        fi
    };
    goto next;

unknown:
    atomic {
        if
        :: MINE && (IN(SENDING) || state[o] == BROADCASTING) -> mark(IN_DOUBT)
        :: else -> skip
        fi
    };
    goto next;

said_no:
    atomic {
        if
        :: MINE && (IN(SENDING) || state[o] == BROADCASTING) -> mark(REFUSED)
        :: else -> skip
        fi
    };
    goto next;

unsent:     /* it waits again: for this worker, or for another; or the whole run is stopped, as by a brake */
    atomic {
        if
        :: MINE && (IN(SENDING) || state[o] == DRAFTING) -> mark(PENDING)
        :: else -> goto left
        fi
    };
    if
    :: seen[o] = true; goto next
    :: goto end_segment
    :: atomic { HELD -> open = false } -> goto end_segment
    fi;

end_segment:    /* it is over, or given back with what is left */
    atomic {
        if
        :: g == WHOLE -> goto end_run
        :: g != WHOLE && HELD && (!ENDED || EACH(ENDED_HERE)) ->
           over[g] = true; done = over[0] && over[SEGMENTS - 1]; judge()
        :: else -> skip
        fi;
        goto left
    };

undo:       /* what is created is in doubt before its cancel leaves; what was seen to be cancelled is */
    atomic {
        if
        :: HELD && TO_UNDO(0) -> o = 0; cancel(); mark(CANCELLED)
        :: HELD && ORDERS > 1 && TO_UNDO(LAST) -> o = LAST; cancel(); mark(CANCELLED)
        :: HELD && !ANY(TO_UNDO) -> undone = true; judge(); goto end_run   /* so it says */
        :: !HELD -> goto left
        fi
    };
    goto undo;

end_run:    /* whoever had it whole leaves it, or puts up for workers what is left */
    if
#if TWO_PHASE
    :: atomic { HELD && TO_READ(0) -> o = 0; undone = false; mark(BROADCASTING) } -> goto end_run
    :: atomic { HELD && ORDERS > 1 && TO_READ(LAST) -> o = LAST; undone = false; mark(BROADCASTING) } -> goto end_run
#endif
    :: atomic { HELD -> put_up(); judge() }
    :: skip
    fi;

left:
    atomic { CLEARED }
    }
#if SETTLE
    unless { atomic { still -> CLEARED } }
#endif
}

/* A key that is free is pushed again, by another run. */
active proctype again() {
end:
    do
    :: atomic { FREED(0) && !anew[0] && !still -> anew[0] = true; live[0]++; judge() }
    :: atomic { ORDERS > 1 && FREED(LAST) && !anew[LAST] && !still -> anew[LAST] = true; live[LAST]++; judge() }
    od
}

#if SETTLE
/* After any troubles: a segment that is not over is found by the sweeper; a run that is closed is put up by a person. */
proctype settler() {
    byte g = 0, o = 0, h = 0, t = 0, number = WORKERS;
    atomic {
        started > 0 -> still = true;
        if
        :: open -> skip
        :: !open -> run_epoch = ME; put_up()
        fi;
        h = run_epoch;
        for (g : 0 .. SEGMENTS - 1) {
            if
            :: !over[g] && !done ->
               segment_epoch[g] = ME;
               for (o : 0 .. LAST) {
                   if
                   :: MINE_IS(o) && WORK(state[o]) -> settle()
                   :: else -> skip
                   fi
               };
               over[g] = true
            :: else -> skip
            fi
        };
        assert(EACH(NO_WORK))       /* nothing waits or is on its way for ever */
    }
}
#endif

init {
    atomic {
        byte i = 0;
        do
        :: i < ORDERS -> state[i] = PENDING; i++
        :: else -> break
        od;
        i = 0;
        do
        :: i < WORKERS -> run worker(i); i++
        :: else -> break
        od;
#if SETTLE
        run settler()
#endif
    }
}
