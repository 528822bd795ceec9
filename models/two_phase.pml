/* One order in two-phase mode: what the ledger, the service, the workers and the wire between them can do to it.

   models/README.md says how to run it, what it leaves out, and which function of the package does each step.

   The rules that the push rests on. Each may be taken away by -DNAME=0, and then an assertion must fail: */
#ifndef FENCE   /* every mark is refused unless the run is still held under the epoch of the one who makes it */
#define FENCE 1
#endif
#ifndef ONCE    /* a recorded task id is never replaced, and recorded only of what is being drafted */
#define ONCE 1
#endif
#ifndef STAY    /* what was perhaps broadcast stays `broadcasting` until it is read; never `drafted` again */
#define STAY 1
#endif
#ifndef OWN     /* only the one who claimed the broadcast itself can know that nothing left; not who found it claimed */
#define OWN 1
#endif
#ifndef TAKEN   /* whoever goes on with a broadcast that another began takes it up first, by a mark like any other */
#define TAKEN 1
#endif
#ifndef CERTAIN /* a refused broadcast frees the key only if no other try of it may still act */
#define CERTAIN 1
#endif
#ifndef PROVEN  /* undo frees a key only when the service said, or shows, that the task is cancelled */
#define PROVEN 1
#endif
#ifndef HEIR    /* another push of the same payload takes the recorded draft over, and does not make a second one */
#define HEIR 1
#endif
#ifndef SAME    /* an unrecorded draft is adopted only if it carries what this row would send */
#define SAME 1
#endif

#ifndef DOUBLES  /* 1: look for doubles only, not for what is untrue in the ledger */
#define DOUBLES 0
#endif
#ifndef TOLD     /* 1: a superseded row tells "not there", too; must fail: the row that took over goes on */
#define TOLD 0
#endif
#ifndef REACH    /* a state: assert that no row ever gets there; must fail, or the model proves nothing */
#define REACH 0
#endif

/* The size: how many workers, pushes of the order (the last one is the settler's), and drafts at the service. */
#ifndef SETTLE      /* whether all is taken up in the end, by one more, when the troubles are over */
#define SETTLE 0
#endif
#ifndef WORKERS
#define WORKERS 3
#endif
#define ROWS    4
#define TASKS   4
#ifndef TROUBLES    /* lost answers, refusals, failed reads, cancels by others: together. Freezes do not count */
#define TROUBLES 3
#endif
#define NONE    9

mtype = { PENDING, DRAFTING, DRAFTED, BROADCASTING, CREATED, REFUSED, IN_DOUBT, CANCELLED, ALREADY_PUSHED, SUPERSEDED };
mtype = { DRAFT, LIVE, GONE_BACK };

/* --- the ledger: a row of the order for each run that it was pushed in ------------------------------------------ */

byte  rows = 0;             /* how many there are */
mtype state[ROWS];
byte  recorded[ROWS];       /* the task id, 0 for none */
byte  payload[ROWS];        /* which content the file had: 1, or 2 after a correction */
byte  epoch[ROWS];          /* of the run */
byte  owner = NONE;         /* the row that owns the key: the unique index over live rows */

/* --- the service: the tasks of the order, numbered from 1 ------------------------------------------------------ */

byte  tasks = 0;
mtype task[TASKS + 1];
byte  content[TASKS + 1];   /* the payload it was made from */
bool  was_live[TASKS + 1];
bool  coming[TASKS + 1];    /* a broadcast of it was given up for lost, and is still on its way */
byte  live = 0;             /* drivers called for this order, at this moment */

byte  started = 0;
byte  troubles = TROUBLES;
bool  still = false;        /* the troubles are over, and all workers so far are dead */

#define MINE(r, e)     (!FENCE || epoch[r] == e)
#define UNLUCKY        troubles > 0 -> troubles--
#define MORE           (tasks < TASKS - 1)    /* the last one is the settler's */
#define ADOPTABLE(n)   lost && troubles > 0 && task[n] == DRAFT && (!SAME || content[n] == payload[r])
#define RESET          atomic { r = 0; e = 0; t = 0; clean = false; lost = false; refused = false }
#define TURN           number > 0 && started == number   /* they are all alike: it is enough that they begin in turn */
#define CLAIMED(s)     (s == DRAFTING || s == BROADCASTING)
#define PERHAPS(s)     (s == BROADCASTING || s == IN_DOUBT)
#define HAS_TASK(s)    (s == DRAFTED || s == BROADCASTING || s == IN_DOUBT || s == CREATED)
#define UNPROCESSED(s) (s == PENDING || s == DRAFTING || s == DRAFTED)

/* What must hold in every state that can be reached. */
inline judge() {
    assert(live <= 1);                                              /* no order is doubled */
#if !DOUBLES
    assert(owner != NONE || live == 0);                             /* a key is free only if nothing is there */
    assert(owner == NONE || !UNPROCESSED(state[owner]) || live == 0);
    assert(owner == NONE || state[owner] != CREATED || was_live[recorded[owner]]);
    assert(owner == NONE || state[owner] != CREATED || content[recorded[owner]] == payload[owner])
#endif
#if TOLD
    byte n;
    for (n : 0 .. ROWS - 1) { assert(state[n] != SUPERSEDED || live == 0) }
#endif
}

/* A broadcast reaches the service: it acts on a draft, and on nothing else. */
inline broadcast(t) {
    if
    :: task[t] == DRAFT -> task[t] = LIVE; was_live[t] = true; live++; judge()
    :: else -> skip
    fi;
    coming[t] = false
}

inline cancel(t) {
    if
    :: task[t] == LIVE -> live--
    :: else -> skip
    fi;
    task[t] = GONE_BACK; coming[t] = false
}

inline make_draft(version, t) { tasks++; t = tasks; task[t] = DRAFT; content[t] = version }

/* --- whole transactions of the ledger -------------------------------------------------------------------------- */

/* Another run brings the order: it is let in, takes the key over from the run that has it, or stands back. */
inline admit(version) {
    r = rows; rows++; payload[r] = version; epoch[r] = 1; e = 1;
    if
    :: owner == NONE -> state[r] = PENDING; owner = r
    :: else ->
       if
       :: state[owner] == CREATED -> state[r] = ALREADY_PUSHED
       :: PERHAPS(state[owner]) && payload[owner] != version -> state[r] = ALREADY_PUSHED
       :: else ->
          if
          :: HEIR && recorded[owner] != 0 && payload[owner] == version ->
             recorded[r] = recorded[owner]; state[r] = (state[owner] == DRAFTED -> DRAFTED : BROADCASTING)
          :: else -> state[r] = PENDING; lost = true     /* there may be drafts of it */
          fi;
          state[owner] = SUPERSEDED; epoch[owner]++; owner = r
       fi
    fi;
    assert(state[r] != REACH && (r == 0 || state[r - 1] != REACH));
    judge()
}

/* A run is taken up; of the others there is nothing to take up. */
inline hold() { r = owner; epoch[r]++; e = epoch[r] }

inline mark(target) {
    state[r] = target;
    assert(target != REACH);
    if
    :: target == REFUSED || target == CANCELLED -> owner = NONE
    :: else -> skip
    fi;
    judge()
}

/* --- a process that pushes, resumes or undoes ------------------------------------------------------------------- */

/* It may stop between any two steps, for any time: that it is killed is only that it never goes on. No lock is
   modelled: another may take its run at any moment, so what is shown here does not rest on locks, nor on clocks. */
proctype worker(byte number) {
    byte r = 0, e = 0, t = 0;
    bool clean = false;     /* certainly nothing of this broadcast left, or will */
    bool lost = false;      /* a draft may exist that nobody recorded */
    bool refused = false;   /* the service said no to the last try of the broadcast */
    {
    if
    :: atomic { started == 0 && number == 0 -> started++; admit(1) }
    :: atomic { TURN && rows < ROWS - SETTLE -> started++; admit(1) }
    :: atomic { TURN && rows < ROWS - SETTLE -> started++; admit(2) }
    :: atomic { TURN && owner != NONE -> started++; hold() } -> goto recover
    :: atomic { TURN && owner != NONE -> started++; hold() } -> goto undo
    :: atomic { TURN && owner == NONE && rows == ROWS - SETTLE -> started++ } -> goto over
    fi;
    goto next;

recover:
    atomic {
        if
        :: MINE(r, e) && state[r] == DRAFTING -> mark(PENDING); lost = true
        :: else -> skip
        fi
    };

next:
    if
    :: atomic { MINE(r, e) && state[r] == PENDING -> mark(DRAFTING) } -> goto draft
    :: atomic { MINE(r, e) && state[r] == DRAFTED -> t = recorded[r]; clean = true; mark(BROADCASTING) } -> goto send
    :: atomic { (MINE(r, e) || !TAKEN) && state[r] == BROADCASTING -> t = recorded[r]; clean = !OWN } -> goto look
    :: atomic { MINE(r, e) && state[r] == IN_DOUBT -> t = recorded[r]; mark(BROADCASTING) } -> goto look
    :: else -> goto over
    fi;

draft:  /* a create of a draft, until an answer names it */
    if
    :: atomic { MORE -> make_draft(payload[r], t) } -> goto keep
    /* made, and the answer is lost; not made, and no answer comes: */
    :: atomic { MORE && troubles > 0 -> troubles--; make_draft(payload[r], t); t = 0; lost = true } -> goto anew
    :: atomic { UNLUCKY; lost = true } -> goto anew
    /* its tracking id is taken, by a draft whose answer was lost as it seems: */
    :: atomic { ADOPTABLE(1) -> troubles--; t = 1 } -> goto keep
    :: atomic { ADOPTABLE(2) -> troubles--; t = 2 } -> goto keep
    :: atomic { ADOPTABLE(3) -> troubles--; t = 3 } -> goto keep
    /* refused; not sent, or tried often enough: */
    :: atomic { MINE(r, e) && state[r] == DRAFTING && troubles > 0 -> troubles--; mark(REFUSED) } -> goto over
    :: atomic { MINE(r, e) && state[r] == DRAFTING && troubles > 0 -> troubles--; mark(PENDING) } -> goto over
    :: !MORE -> goto over
    fi;

anew:   /* it waits again, and is claimed anew before it is drafted anew */
    atomic {
        if
        :: MINE(r, e) && state[r] == DRAFTING -> mark(PENDING)
        :: else -> skip
        fi
    };
    goto next;

keep:   /* record the draft */
    atomic {
        if
        :: MINE(r, e) && (state[r] == DRAFTING && recorded[r] == 0 || !ONCE && CLAIMED(state[r])) ->
           recorded[r] = t; t = 0; lost = false; mark(DRAFTED)
        :: else -> goto over
        fi
    };
    goto next;

send:   /* a broadcast of the recorded draft, by its id */
    if
    /* It acts, and the answer shows the task past draft; or the answer is lost, or says nothing: */
    :: atomic { task[t] != GONE_BACK -> refused = false; broadcast(t) } -> goto created
    :: atomic { UNLUCKY; refused = false; clean = false; broadcast(t) } -> goto look
    /* Lost on its way, or late; certainly never left, 429 or 401; refused: */
    :: atomic { UNLUCKY; refused = false; clean = false; coming[t] = (task[t] == DRAFT) } -> goto look
    :: atomic { UNLUCKY; refused = false } -> goto look
    :: atomic { UNLUCKY; refused = true } -> goto look
    :: atomic { task[t] == GONE_BACK -> refused = true } -> goto look
    fi;

look:   /* read the task; the read may fail, or say 404 */
    if
    :: atomic { UNLUCKY } -> goto again
    :: atomic { UNLUCKY } -> goto gone
    :: task[t] == LIVE -> goto created
    :: task[t] == GONE_BACK -> goto taken_back
    :: task[t] == DRAFT ->
       if
       :: refused && (clean || !CERTAIN) -> goto said_no
       :: else -> goto again
       fi
    fi;

again:
    if
    :: goto send
    :: goto give_up
    fi;

created:
    atomic {
        if
        :: MINE(r, e) && PERHAPS(state[r]) -> mark(CREATED)
        :: else -> skip
        fi
    };
    goto over;

taken_back:
    atomic {
        if
        :: MINE(r, e) && HAS_TASK(state[r]) -> mark(CANCELLED)
        :: else -> skip
        fi
    };
    goto over;

gone:
    atomic {
        if
        :: MINE(r, e) && state[r] == BROADCASTING -> mark(IN_DOUBT)
        :: else -> skip
        fi
    };
    goto over;

said_no:
    atomic {
        if
        :: MINE(r, e) && state[r] == BROADCASTING -> mark(REFUSED)
        :: else -> skip
        fi
    };
    goto over;

give_up:
    atomic {
        if
        :: (clean || !STAY) && MINE(r, e) && state[r] == BROADCASTING -> mark(DRAFTED)
        :: else -> skip
        fi
    };
    goto over;

undo:
    atomic {
        if
        :: HAS_TASK(state[r]) -> t = recorded[r]
        :: else -> goto over
        fi
    };
    if
    :: atomic { task[t] != GONE_BACK -> cancel(t) } -> goto taken_back
    :: task[t] == GONE_BACK
    /* The answer is lost; too late, or lost on its way: */
    :: atomic { task[t] != GONE_BACK && troubles > 0 -> troubles--; cancel(t) }
    :: atomic { UNLUCKY }
    fi;
    if
    :: !PROVEN -> goto taken_back
    :: task[t] == GONE_BACK -> goto taken_back      /* it is read */
    :: goto over
    fi;

over:
    RESET
    }
#if SETTLE
    unless { atomic { still -> r = 0; e = 0; t = 0; clean = false; lost = false; refused = false } }
#endif
}

/* What was given up for lost may arrive at any time after. */
active proctype wire() {
end:
    do
    :: atomic { coming[1] -> broadcast(1) }
    :: atomic { coming[2] -> broadcast(2) }
    :: atomic { coming[3] -> broadcast(3) }
    od
}

/* Somebody cancels a task at the service, past us. */
active proctype somebody() {
end:
    if
    :: atomic { (task[1] == DRAFT || task[1] == LIVE) && troubles > 0 -> troubles--; cancel(1) }
    :: atomic { (task[2] == DRAFT || task[2] == LIVE) && troubles > 0 -> troubles--; cancel(2) }
    fi
}

#if SETTLE
/* After any troubles: all workers are dead, the service is well, and the run is resumed, or the file pushed again. */
proctype settler() {
    byte r = 0, e = 0, t = 0, version = 0;
    bool lost = false;
    atomic {
        rows > 0 -> still = true;
        if
        :: owner != NONE -> r = owner; epoch[r]++; e = epoch[r]
        :: version = (owner != NONE -> payload[owner] : payload[rows - 1]); admit(version)
        fi;
        if
        :: state[r] == DRAFTING -> mark(PENDING)
        :: else -> skip
        fi
    };
    do
    :: atomic { state[r] == PENDING -> mark(DRAFTING); make_draft(payload[r], t); recorded[r] = t; mark(DRAFTED) }
    :: atomic { state[r] == DRAFTED -> mark(BROADCASTING) }
    :: atomic { state[r] == BROADCASTING ->
           t = recorded[r];
           if
           :: task[t] == DRAFT -> broadcast(t)
           :: task[t] == LIVE -> mark(CREATED)
           :: task[t] == GONE_BACK -> mark(CANCELLED)
           fi
       }
    :: atomic { state[r] == IN_DOUBT -> mark(BROADCASTING) }
    :: else -> break
    od;
    atomic {
        if
        :: owner == NONE -> assert(state[r] == CANCELLED && task[recorded[r]] == GONE_BACK)
        :: else -> assert(state[owner] == CREATED && (live == 1 || task[recorded[owner]] == GONE_BACK))
        fi
    }
}
#endif

init {
    atomic {
        byte i = 0;
        do
        :: i < WORKERS -> run worker(i); i++
        :: else -> break
        od;
#if SETTLE
        run settler()
#endif
    }
}
