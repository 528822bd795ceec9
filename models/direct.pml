/* One order in direct mode: one call creates and broadcasts it, and nothing at the service tells a repeat from a first.

   models/README.md says how to run it, what it leaves out, and which function of the package does each step.

   The rules that the push rests on. Each may be taken away by -DNAME=0, and then an assertion must fail: */
#ifndef FENCE       /* marks are refused under another epoch: 1 of the chunk (if claimed) or the run; 2 of the run */
#define FENCE 1     /* 2 must hold, too, and 0 unless COPY=1: what was taken over is never claimed again */
#endif
#ifndef COMPARE     /* an admission is written only if the order that has the key is still as it was looked at */
#define COMPARE 1
#endif
#ifndef AGE         /* a claim that is no longer young is renewed in the ledger before a try leaves, or none leaves */
#define AGE 1
#endif
#ifndef DOUBT       /* what a dead worker claimed is in doubt, and not sent again */
#define DOUBT 1
#endif
#ifndef WAIT        /* while a cancel that was not answered may act, no read calls its order created */
#define WAIT 1
#endif
#ifndef PROVEN      /* undo frees a key only when the service said, or shows, that the task is cancelled */
#define PROVEN 1
#endif
/* These, where the ledger may be put back to an older copy of itself (COPY=1): */
#ifndef COUNTER     /* an older copy is known for one, and gone on with only by accept-older: what waited is in doubt */
#define COUNTER 1
#endif
#ifndef FRESH       /* accept-older raises all epochs, also of what is let in later, above all that anybody may have */
#define FRESH 1
#endif
#ifndef ALL         /* in doubt without a recorded task, an order is not cancelled because one task of its name is */
#define ALL 1
#endif

/* A person who sees that no task exists and says so, which frees the key: 0 nobody; 1 at any time, which must fail;
   2 when every claim has been over for long, and nothing is on its way: before that the ledger refuses it. */
#ifndef PERSON
#define PERSON 2
#endif
#ifndef LATE        /* 0: a cancel that was given up for lost never acts after */
#define LATE 1
#endif
#ifndef COPY        /* 1: once, the ledger may be put back to an older copy of itself */
#define COPY 0
#endif
#ifndef RUNS        /* 1: a run has an epoch besides, which whoever takes it up raises. Nothing rests on it */
#define RUNS 0
#endif
#ifndef DOUBLES     /* 1: look for doubles only, not for what is untrue in the ledger */
#define DOUBLES 0
#endif
#ifndef OLD_UNDO    /* 1: what an older copy says was created is undone; must fail: it may have been pushed anew */
#define OLD_UNDO 0
#endif
#ifndef REACH    /* 1: tell each state that a row gets into; what a model never does it proves nothing of */
#define REACH 0
#endif

/* The size: how many workers, and troubles. With SETTLE one more takes all up in the end, after the troubles. */
#ifndef SETTLE
#define SETTLE 0
#endif
#ifndef WORKERS
#define WORKERS 3
#endif
#ifndef TROUBLES    /* lost answers, refusals, failed tries and reads, together; freezes are not counted */
#define TROUBLES 3
#endif
#define ROWS (WORKERS + SETTLE)
#define NONE 9
#define JUMP 100

/* An epoch tells one claim from all others, so it stands here for who made the last one: fewer states than numbers
   that grow. Where a number may come a second time, it is the number. */
#ifndef NUMBERS
#define NUMBERS (COPY && !(COUNTER && FRESH))
#endif

mtype = { PENDING, SENDING, CREATED, REFUSED, IN_DOUBT, CANCELLED, ALREADY_PUSHED, SUPERSEDED, CANCELLING };

/* --- the ledger: a row (a chunk of one order) for each run that the order was pushed in -------------------------- */

byte  rows = 0;
mtype state[ROWS];
byte  epoch[ROWS];          /* of the chunk: raised when it is claimed, or taken from who had claimed it */
byte  recorded[ROWS];       /* the task id, 0 for none */
byte  run_epoch[ROWS];      /* raised by accept-older; with RUNS=1 also by whoever takes the run up, or takes it over */
byte  key = NONE;           /* the row that has the key, or had it last */

/* --- a copy of it, as accept-older would leave it ---------------------------------------------------------------- */

byte  old_rows = 0;
mtype old_state[ROWS];
byte  old_epoch[ROWS];
byte  old_recorded[ROWS];
byte  old_key = NONE;
bool  put_back = false;     /* the ledger is the older copy, from now on */
bool  old_created = false;  /* which said that the order was created */

/* --- the service ------------------------------------------------------------------------------------------------ */

byte  tasks = 0;            /* all that it made of the order, numbered from 1; the last one may be live */
byte  coming = 0;           /* creates that were given up for lost, and are still on their way */
byte  live = 0;             /* drivers called for this order, at this moment */
byte  ending = 0;           /* the task whose cancel was given up for lost; 0 when it acted, or its time has passed */

/* --- the workers ------------------------------------------------------------------------------------------------ */

bool  young[WORKERS];       /* its claim is: a minute has not passed */
bool  leaving[WORKERS];     /* it stands between its last look and the socket */
byte  started = 0;
byte  troubles = TROUBLES;
bool  still = false;        /* the troubles are over, and all workers so far are dead */

#define HELD           (!FENCE || run_epoch[r] == h)
#define MINE           (HELD && (FENCE != 1 || epoch[r] == e))
#define ME             (number + 1)
#define UNLUCKY        troubles > 0 -> troubles--
#define TURN           number > 0 && started == number   /* they are all alike: it is enough that they begin in turn */
#define LETS_GO(s)     (s == REFUSED || s == CANCELLED)
#define FREE           (key == NONE || LETS_GO(state[key]))
#define UNDOABLE       (!FREE && !(old_created && !OLD_UNDO))
#define LIVES(n)       (live > 0 && n == tasks)
#define SETTLED(n)     (!WAIT || ending == 0 || ending != recorded[n])
#define CLEARED        r = 0; e = 0; h = 0; t = 0; alone = false; young[number] = false; leaving[number] = false

#if REACH
#define TELL(s) printf("reached %d\n", s)
#else
#define TELL(s) skip
#endif

/* What must hold in every state that can be reached. */
inline judge() {
    assert(live <= 1);                                              /* no order is doubled */
#if !DOUBLES
    assert(!FREE || live == 0);                                     /* a key is free only if nothing is there */
    assert(FREE || state[key] != PENDING || live == 0);
    assert(FREE || state[key] != CREATED || recorded[key] != 0);
    assert(FREE || state[key] != CREATED || ending == 0 || ending != recorded[key] || put_back)
#endif
}

inline create(t) { tasks++; t = tasks; live++; judge() }

inline cancel(t) {
    if
    :: LIVES(t) -> live--
    :: else -> skip
    fi;
    if
    :: ending == t -> ending = 0
    :: else -> skip
    fi
}

/* --- single writes to the ledger -------------------------------------------------------------------------------- */

inline mark(target) {
    state[r] = target;
    if
    :: !NUMBERS && target != SENDING -> epoch[r] = 0    /* nobody's */
    :: else -> skip
    fi;
    TELL(target);
    judge()
}

inline raise(who) { epoch[r] = (NUMBERS -> epoch[r] + 1 : who) }

/* A compare-and-swap on epoch and state, whose new epoch is the claim's from now on. */
inline claim() { raise(ME); e = epoch[r]; mark(SENDING) }

/* Its claim is taken from whoever was sending: he may be dead, or only frozen. */
inline recover() {
    if
    :: state[r] == SENDING && DOUBT -> raise(0); mark(IN_DOUBT)
    :: state[r] == SENDING && !DOUBT -> raise(0); mark(PENDING)
    :: else -> skip
    fi
}

/* Another run brings the order: it is let in, takes the key over from the run that has it, or stands back (NONE). */
inline admit(has, was) {
    if
    :: has != NONE && (was == CREATED || was == IN_DOUBT || was == CANCELLING || was == SENDING && DOUBT) ->
       TELL(ALREADY_PUSHED);
       if
       :: was == SENDING -> r = has; run_epoch[r] = run_epoch[r] + RUNS; raise(0); mark(IN_DOUBT)
       :: else -> skip
       fi;
       r = NONE
    :: else ->
       r = rows; rows++; recorded[r] = 0; epoch[r] = 0; run_epoch[r] = RUNS;
       if
       :: put_back && COUNTER && FRESH -> run_epoch[r] = run_epoch[r] + JUMP; epoch[r] = epoch[r] + JUMP * NUMBERS
       :: else -> skip
       fi;
       h = run_epoch[r];
       if
       :: has == NONE || LETS_GO(was) -> skip
       :: else ->
          state[has] = SUPERSEDED; TELL(SUPERSEDED);
          epoch[has] = (NUMBERS -> epoch[has] + 1 : 0); run_epoch[has] = run_epoch[has] + RUNS
       fi;
       state[r] = PENDING; key = r;
       TELL(state[r]);
       judge()
    fi
}

#define STATE_OF_KEY (key == NONE -> 0 : state[key])
#if COMPARE     /* it is done over until nobody wrote in between: one step */
#define BRING admit(key, STATE_OF_KEY)
#else
#define BRING has = key; was = STATE_OF_KEY
#endif

/* A run is taken up, or one more worker goes on with it. */
inline hold() { r = key; run_epoch[r] = run_epoch[r] + RUNS; h = run_epoch[r] }

/* --- a process that pushes, resumes or undoes ------------------------------------------------------------------- */

/* It may stop between any two steps, for any time: that it is killed is only that it never goes on. There is no lock:
   several may have a run at any moment, so what is shown here does not rest on locks. */
proctype worker(byte number) {
    byte r = 0, e = 0, h = 0, t = 0;
    bool alone = false;     /* no other cancel of the task was given up for lost when this one left */
#if !COMPARE
    byte has = NONE;
    mtype was = 0;
#endif
    {
    if
    :: atomic { started == 0 && number == 0 -> started++; BRING } -> goto brought
    :: atomic { TURN -> started++; BRING } -> goto brought
    :: atomic { TURN && !FREE -> started++; hold() } -> goto next
    :: atomic { TURN && UNDOABLE -> started++; hold() } -> goto undo
    fi;

brought:
#if !COMPARE
    atomic { admit(has, was); has = NONE; was = 0 };
#endif
    if
    :: r == NONE -> goto over
    :: r != NONE
    fi;

next:   /* the claim; its life begins before it is written */
    young[number] = true;
    atomic {
        if
        :: HELD && state[r] == PENDING -> claim()
        :: else -> goto over
        fi
    };

look:   /* the last look before a try leaves */
    atomic {
        if
        :: young[number] || !AGE -> leaving[number] = true
        :: !young[number] && AGE && MINE && state[r] == SENDING -> young[number] = true; leaving[number] = true
        :: else -> goto over
        fi
    };

send:
    atomic {
        leaving[number] = false;
        if
        /* It acts, and is answered; the answer is lost; lost on its way, or late: */
        :: true -> create(t); goto there
        :: UNLUCKY; create(t); t = 0; goto unknown
        :: UNLUCKY; coming++; goto unknown
        /* Not sent, 429 or 401: once more, or that was enough; refused: */
        :: UNLUCKY; goto look
        :: UNLUCKY; goto unsent
        :: UNLUCKY; goto said_no
        fi
    };

there:
    atomic {
        if
        :: MINE && state[r] == SENDING || HELD && state[r] == IN_DOUBT && recorded[r] == 0 ->
           recorded[r] = t; mark(CREATED)
        :: else -> skip
        fi;
        goto over
    };

unknown:
    atomic {
        if
        :: MINE && state[r] == SENDING -> mark(IN_DOUBT)
        :: else -> skip
        fi;
        goto over
    };

unsent:
    atomic {
        if
        :: MINE && state[r] == SENDING -> mark(PENDING)
        :: else -> skip
        fi;
        goto over
    };

said_no:
    atomic {
        if
        :: MINE && state[r] == SENDING -> mark(REFUSED)
        :: else -> skip
        fi;
        goto over
    };

undo:   /* only a recorded task can be cancelled. Before its cancel leaves, the order is `cancelling`, under an epoch of its
           own. The write and the first byte are one step here: a process that stands still between them is what cannot
           be promised */
    atomic {
        if
        :: HELD && recorded[r] != 0 && (state[r] == CREATED || state[r] == IN_DOUBT || state[r] == CANCELLING) ->
           t = recorded[r]; alone = (state[r] != CANCELLING);
           mark(CANCELLING); epoch[r] = (NUMBERS -> epoch[r] + 1 : ME); e = epoch[r]
        :: else -> goto over
        fi;
        if
        :: true -> cancel(t)
        /* The answer is lost; too late, or refused; lost on its way, and perhaps late: */
        :: UNLUCKY; cancel(t); goto over
        :: UNLUCKY; goto too_late
        :: LATE && troubles > 0 && LIVES(t) -> troubles--; ending = t; goto over
        fi
    };
    if
    :: !PROVEN || !LIVES(t) -> goto taken_back      /* it is read */
    :: atomic { UNLUCKY } -> goto over
    fi;

too_late:
    atomic {
        if
        :: !PROVEN -> goto taken_back
        :: PROVEN && LIVES(t) && HELD && epoch[r] == e && state[r] == CANCELLING && (alone || SETTLED(r)) -> mark(CREATED)
        :: else -> skip
        fi;
        goto over
    };

taken_back:
    atomic {
        if
        :: HELD && (state[r] == CREATED || state[r] == IN_DOUBT || state[r] == CANCELLING) && recorded[r] == t ->
           mark(CANCELLED)
        :: else -> skip
        fi
    };

over:
    atomic { CLEARED }
    }
#if SETTLE
    unless { atomic { still -> CLEARED } }
#endif
}

/* A lease is over: that proves nothing, so it acts at any moment. */
active proctype sweeper() {
    byte r = 0;
end:
    do
    :: atomic { key != NONE && state[key] == SENDING && !still -> r = key; recover(); r = 0 }
    od
}

/* What was given up for lost may arrive at any time after. */
active proctype wire() {
    byte t = 0;
end:
    do
    :: atomic { coming > 0 -> coming--; create(t); t = 0 }
#if LATE
    :: atomic { ending > 0 -> t = ending; cancel(t); t = 0 }
    :: ending > 0 -> ending = 0     /* its time has passed: it can act no more */
#endif
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

/* An event of the service, or a read, names a task of an order in doubt. */
#define CANCEL_SEEN (live == 0 && tasks > 0 && !ALL && put_back)
active proctype event() {
    byte r = 0;
end:
    do
    :: atomic { !FREE && (state[key] == IN_DOUBT || state[key] == CANCELLING && (SETTLED(key) || live == 0)) &&
                (live > 0 || recorded[key] != 0 || CANCEL_SEEN) && !still ->
           r = key;
           if
           :: recorded[r] == 0 && live > 0 -> recorded[r] = tasks; mark(CREATED)
           :: recorded[r] != 0 && LIVES(recorded[r]) -> mark(CREATED)
           :: else -> mark(CANCELLED)
           fi;
           r = 0 }
    od
}

/* A person looks at the service, finds no task, and says so. */
#define WAITED (!young[0] && !leaving[0] && !young[1] && !leaving[1] && !young[WORKERS - 1] && !leaving[WORKERS - 1] \
                && coming == 0)
active proctype person() {
    byte r = 0;
end:
    do
    :: atomic { PERSON > 0 && !FREE && state[key] == IN_DOUBT && live == 0 && (PERSON == 1 || WAITED) && !still ->
           r = key; mark(REFUSED); r = 0 }
    od
}

#if COPY
/* One row as the copy has it, and as accept-older will leave it: for fewer states it is done right away. */
inline copy_row(i) {
    if
    :: i < rows ->
       old_state[i] = state[i]; old_recorded[i] = recorded[i];
       old_epoch[i] = (NUMBERS -> epoch[i] + COUNTER * (FRESH -> JUMP : 1) : 0);
       if
       :: COUNTER && (state[i] == PENDING || state[i] == SENDING || state[i] == IN_DOUBT || state[i] == CANCELLING) ->
          old_state[i] = IN_DOUBT; old_recorded[i] = 0
       :: else -> skip
       fi
    :: else -> skip
    fi
}

inline put_back_row(i) {
    state[i] = old_state[i]; epoch[i] = old_epoch[i]; recorded[i] = old_recorded[i];
    if
    :: COUNTER && FRESH && i < old_rows -> run_epoch[i] = run_epoch[i] + JUMP
    :: i >= old_rows -> run_epoch[i] = 0
    :: else -> skip
    fi;
    old_state[i] = 0; old_epoch[i] = 0; old_recorded[i] = 0
}

/* A copy is made, of a ledger that knows of the order, and later it is all that there is. Meanwhile nobody writes. */
active proctype copies() {
    byte i = 0;
end:
    atomic {
        !FREE && !still ->
        for (i : 0 .. WORKERS - 1) { copy_row(i) };
        old_rows = rows; old_key = key; i = 0
    };
end_copied:
    atomic {
        !still ->
        for (i : 0 .. WORKERS - 1) { put_back_row(i) };
        rows = old_rows; key = old_key; put_back = true; old_created = (state[key] == CREATED);
        old_rows = 0; old_key = NONE; i = 0;
        judge()
    }
}
#endif

#if SETTLE
/* After any troubles: all workers are dead, the service is well, and the run is resumed, or the file pushed again. */
proctype settler() {
    byte r = 0, e = 0, h = 0, t = 0, number = WORKERS;
    atomic {
        rows > 0 -> still = true;
        if
        :: !FREE -> hold(); recover()
        :: true -> admit(key, state[key])
        fi
    };
    do
    :: atomic { r != NONE && state[r] == PENDING -> claim() }
    :: atomic { r != NONE && state[r] == SENDING -> create(t); recorded[r] = t; mark(CREATED) }
    :: else -> break
    od;
    /* Nothing waits or is on its way for ever. */
    atomic { assert(!FREE && (state[key] == CREATED || state[key] == IN_DOUBT || state[key] == CANCELLING)) }
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
