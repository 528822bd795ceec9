/* One order in direct mode: one call creates and broadcasts it, and nothing at the service tells a repeat from a first.

   models/README.md says how to run it, what it leaves out, and which function of the package does each step.

   The rules that the push rests on. Each may be taken away by -DNAME=0, and then an assertion must fail (but FENCE): */
#ifndef FENCE       /* every mark is refused unless the run is still held under the epoch of the one who makes it */
#define FENCE 1     /* without it nothing doubles here: what was taken over is never claimed again */
#endif
#ifndef AGE         /* a claim that is no longer young is renewed in the ledger before a try leaves, or nothing leaves */
#define AGE 1
#endif
#ifndef DOUBT       /* what a dead worker claimed is in doubt, and not sent again */
#define DOUBT 1
#endif
#ifndef PROVEN      /* undo frees a key only when the service said, or shows, that the task is cancelled */
#define PROVEN 1
#endif

/* A person who sees that no task exists and says so, which frees the key: 0 nobody; 1 at any time, which must fail:
   docs/reliability.md names this limit; 2 when every claim has been over for long, and nothing is on its way. */
#ifndef PERSON
#define PERSON 2
#endif
#ifndef DOUBLES     /* 1: look for doubles only, not for what is untrue in the ledger */
#define DOUBLES 0
#endif
#ifndef REACH       /* a state: assert that no row ever gets there; must fail, or the model proves nothing */
#define REACH 0
#endif

/* The size: how many workers, pushes of the order (the settler's is one more), and troubles. */
#ifndef SETTLE      /* whether all is taken up in the end, by one more, when the troubles are over */
#define SETTLE 0
#endif
#ifndef WORKERS
#define WORKERS 3
#endif
#ifndef TROUBLES    /* lost answers, refusals, failed tries and reads, together; freezes are not counted */
#define TROUBLES 3
#endif
#define ROWS 4
#define NONE 9

mtype = { PENDING, SENDING, CREATED, REFUSED, IN_DOUBT, CANCELLED, ALREADY_PUSHED, SUPERSEDED };

/* --- the ledger: a row of the order for each run that it was pushed in ------------------------------------------ */

byte  rows = 0;
mtype state[ROWS];
byte  epoch[ROWS];          /* of the run */
byte  owner = NONE;         /* the row that owns the key: the unique index over live rows */

/* --- the service ------------------------------------------------------------------------------------------------ */

byte  created[ROWS];        /* the tasks that it made of each push, also those that were cancelled since */
byte  tasks[ROWS];          /* those that live */
byte  coming[ROWS];         /* creates that were given up for lost, and are still on their way */
byte  live = 0;             /* drivers called for this order, at this moment */

/* --- the workers ------------------------------------------------------------------------------------------------ */

bool  young[WORKERS];       /* its claim is: a minute has not passed */
bool  leaving[WORKERS];     /* it stands between its last look and the socket */
byte  started = 0;
byte  troubles = TROUBLES;
bool  still = false;        /* the troubles are over, and all workers so far are dead */

#define MINE(r, e)     (!FENCE || epoch[r] == e)
#define UNLUCKY        troubles > 0 -> troubles--
#define TURN           number > 0 && started == number   /* they are all alike: it is enough that they begin in turn */
#define RESET          atomic { r = 0; e = 0; young[number] = false; leaving[number] = false }  /* for fewer states */

/* What must hold in every state that can be reached. */
inline judge() {
    assert(live <= 1);                                              /* no order is doubled */
#if !DOUBLES
    assert(owner != NONE || live == 0);                             /* a key is free only if nothing is there */
    assert(owner == NONE || state[owner] != PENDING || live == 0);
    assert(owner == NONE || state[owner] != CREATED || created[owner] == 1)
#endif
}

inline create(n) { created[n]++; tasks[n]++; live++; judge() }

inline cancel(n) { live = live - tasks[n]; tasks[n] = 0 }

/* --- whole transactions of the ledger --------------------------------------------------------------------------- */

inline mark(target) {
    state[r] = target;
    if
    :: target == REFUSED || target == CANCELLED -> owner = NONE
    :: else -> skip
    fi;
    assert(target != REACH);
    judge()
}

/* Another run brings the order: it is let in, takes the key over from the run that has it, or stands back. */
inline admit() {
    r = rows; rows++; epoch[r] = 1; e = 1;
    if
    :: owner == NONE -> state[r] = PENDING; owner = r
    :: owner != NONE && (state[owner] == PENDING || state[owner] == SENDING && !DOUBT) ->
       state[owner] = SUPERSEDED; epoch[owner]++; state[r] = PENDING; owner = r
    :: owner != NONE && state[owner] == SENDING && DOUBT ->
       state[owner] = IN_DOUBT; epoch[owner]++; state[r] = ALREADY_PUSHED
    :: owner != NONE && (state[owner] == CREATED || state[owner] == IN_DOUBT) -> state[r] = ALREADY_PUSHED
    fi;
    assert(state[r] != REACH && (r == 0 || state[r - 1] != REACH));
    judge()
}

inline hold() { r = owner; epoch[r]++; e = epoch[r] }

inline settle() {
    if
    :: MINE(r, e) && state[r] == SENDING && DOUBT -> mark(IN_DOUBT)
    :: MINE(r, e) && state[r] == SENDING && !DOUBT -> mark(PENDING)
    :: else -> skip
    fi
}

/* --- a process that pushes, resumes or undoes ------------------------------------------------------------------- */

/* It may stop between any two steps, for any time: that it is killed is only that it never goes on. No lock is
   modelled: another may take its run at any moment. */
proctype worker(byte number) {
    byte r = 0, e = 0;
    {
    if
    :: atomic { started == 0 && number == 0 -> started++; admit() }
    :: atomic { TURN && rows < ROWS - SETTLE -> started++; admit() }
    :: atomic { TURN && owner != NONE -> started++; hold() } -> goto recover
    :: atomic { TURN && owner != NONE -> started++; hold() } -> goto undo
    :: atomic { TURN && owner == NONE && rows == ROWS - SETTLE -> started++ } -> goto over
    fi;
    goto next;

recover:
    atomic { true -> settle() };

next:   /* the claim; its life begins before it is written */
    young[number] = true;
    atomic {
        if
        :: MINE(r, e) && state[r] == PENDING -> mark(SENDING)
        :: else -> goto over
        fi
    };

look:   /* the last look before a try leaves */
    atomic {
        if
        :: young[number] || !AGE -> leaving[number] = true
        :: !young[number] && AGE && MINE(r, e) && state[r] == SENDING -> young[number] = true; leaving[number] = true
        :: else -> goto over
        fi
    };

send:
    atomic {
        leaving[number] = false;
        if
        /* It acts, and is answered; the answer is lost; lost on its way, or late: */
        :: true -> create(r); goto there
        :: UNLUCKY; create(r); goto unknown
        :: UNLUCKY; coming[r]++; goto unknown
        /* Not sent, 429 or 401: once more, or that was enough; refused: */
        :: UNLUCKY; goto look
        :: UNLUCKY; goto unsent
        :: UNLUCKY; goto said_no
        fi
    };

there:
    atomic {
        if
        :: MINE(r, e) && (state[r] == SENDING || state[r] == IN_DOUBT) -> mark(CREATED)
        :: else -> skip
        fi
    };
    goto over;

unknown:
    atomic {
        if
        :: MINE(r, e) && state[r] == SENDING -> mark(IN_DOUBT)
        :: else -> skip
        fi
    };
    goto over;

unsent:
    atomic {
        if
        :: MINE(r, e) && state[r] == SENDING -> mark(PENDING)
        :: else -> skip
        fi
    };
    goto over;

said_no:
    atomic {
        if
        :: MINE(r, e) && state[r] == SENDING -> mark(REFUSED)
        :: else -> skip
        fi
    };
    goto over;

undo:   /* only what is created has a task id that can be cancelled */
    if
    :: state[r] == CREATED
    :: state[r] != CREATED -> goto over
    fi;
    if
    :: atomic { true -> cancel(r) } -> goto taken_back
    :: atomic { UNLUCKY; cancel(r) }                                        /* the answer is lost */
    :: atomic { UNLUCKY }                                                   /* too late, or lost on its way */
    fi;
    if
    :: !PROVEN -> goto taken_back
    :: tasks[r] == 0 -> goto taken_back                                     /* it is read */
    :: goto over
    fi;

taken_back:
    atomic {
        if
        :: MINE(r, e) && state[r] == CREATED -> mark(CANCELLED)
        :: else -> skip
        fi
    };

over:
    RESET
    }
#if SETTLE
    unless { atomic { still -> r = 0; e = 0; young[number] = false; leaving[number] = false } }
#endif
}

/* What was given up for lost may arrive at any time after. */
active proctype wire() {
end:
    do
    :: atomic { coming[0] > 0 -> coming[0]--; create(0) }
    :: atomic { coming[1] > 0 -> coming[1]--; create(1) }
    :: atomic { coming[2] > 0 -> coming[2]--; create(2) }
    od
}

/* Claims grow old. */
active proctype clock() {
end:
    do
    :: atomic { young[0] -> young[0] = false }
    :: atomic { young[1] -> young[1] = false }
    :: atomic { young[WORKERS - 1] -> young[WORKERS - 1] = false }
    od
}

/* An event of the service names the task of an order in doubt. */
active proctype event() {
    byte r = 0;
end:
    do
    :: atomic { owner != NONE && state[owner] == IN_DOUBT && tasks[owner] > 0 -> r = owner; mark(CREATED); r = 0 }
    od
}

/* A person looks at the service, finds no task, and says so. */
#define WAITED (!young[0] && !leaving[0] && !young[1] && !leaving[1] && !young[WORKERS - 1] && !leaving[WORKERS - 1] \
                && coming[0] == 0 && coming[1] == 0 && coming[2] == 0)
active proctype person() {
    byte r = 0;
end:
    do
    :: atomic { PERSON > 0 && owner != NONE && state[owner] == IN_DOUBT && live == 0 && (PERSON == 1 || WAITED) ->
           r = owner; mark(REFUSED); r = 0 }
    od
}

#if SETTLE
/* After any troubles: all workers are dead, the service is well, and the run is resumed, or the file pushed again. */
proctype settler() {
    byte r = 0, e = 0;
    atomic {
        rows > 0 -> still = true;
        if
        :: owner != NONE -> hold(); settle()
        :: admit()
        fi
    };
    do
    :: atomic { state[r] == PENDING -> mark(SENDING) }
    :: atomic { state[r] == SENDING -> create(r); mark(CREATED) }
    :: else -> break
    od;
    atomic {
        /* Nothing waits or is on its way for ever; the key is free only because a person said so. */
        assert(owner == NONE || state[owner] == CREATED || state[owner] == IN_DOUBT);
        assert(owner == NONE || state[owner] != CREATED || live == 1 || tasks[owner] == 0)
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
