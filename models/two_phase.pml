/* One order in two-phase mode: what the ledger, the service, the workers and the wire between them can do to it.

   models/README.md says how to run it, what it leaves out, and which function of the package does each step.

   The rules that the push rests on. Each may be taken away by -DNAME=0, and then an assertion must fail: */
#ifndef FENCE   /* every claim raises the chunk's epoch; what is claimed is marked under the epoch of its claim only */
#define FENCE 1
#endif
#ifndef COMPARE /* an admission is written only if the order that has the key is still as it was looked at */
#define COMPARE 1
#endif
#ifndef INTENT  /* the intent to broadcast is written before: 1 with the draft's id, 2 after it (must hold, too) */
#define INTENT 1
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
#ifndef TAKEN   /* whoever goes on with a broadcast that another began claims it first, under an epoch of its own */
#define TAKEN 1
#endif
#ifndef CERTAIN /* a refused broadcast frees the key only if no other try of it may still act */
#define CERTAIN 1
#endif
#ifndef PROVEN  /* undo frees a key only when the service said, or shows, that the task is cancelled */
#define PROVEN 1
#endif
#ifndef WAIT    /* while a cancel that was not answered may act, no read calls its order created, nor broadcasts it */
#define WAIT 1
#endif
#ifndef HEIR    /* another push of the same payload takes the recorded draft over, and does not make a second one */
#define HEIR 1
#endif
#ifndef SAME    /* an unrecorded draft is adopted only if it carries what this row would send */
#define SAME 1
#endif
#ifndef OTHERS  /* an order whose answer names a task that another order has is in doubt, and is not drafted anew */
#define OTHERS 1
#endif
/* These, where the ledger may be put back to an older copy of itself (COPY=1): */
#ifndef COUNTER /* an older copy is known for one, and gone on with only by accept-older: what waited is in doubt */
#define COUNTER 1
#endif
#ifndef FORGET  /* accept-older forgets the recorded drafts of what is not created: nobody broadcasts them again */
#define FORGET 1
#endif
#ifndef ABOVE   /* accept-older raises the epochs of runs and chunks above all that any process may have */
#define ABOVE 1
#endif
#ifndef FRESH   /* the epochs of what is let in after accept-older begin there, too */
#define FRESH 1
#endif
#ifndef ALL     /* in doubt without a recorded draft, an order is cancelled only if all tasks of its name are */
#define ALL 1
#endif

#ifndef LATE     /* 0: a cancel that was given up for lost never acts after */
#define LATE 1
#endif
#ifndef COPY     /* 1: once, the ledger may be put back to an older copy of itself */
#define COPY 0
#endif
#ifndef RUNS     /* 1: a run has an epoch besides, which whoever takes it up raises. Nothing rests on it */
#define RUNS 0
#endif
#ifndef DOUBLES  /* 1: look for doubles only, not for what is untrue in the ledger */
#define DOUBLES 0
#endif
#ifndef TOLD     /* 1: a superseded row tells "not there", too; must fail: the row that took over goes on */
#define TOLD 0
#endif
#ifndef OLD_UNDO /* 1: what an older copy says was created is undone as ever; must fail: it may have been pushed anew */
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
#ifndef TROUBLES    /* lost answers, refusals, failed reads, cancels by others: together. Freezes do not count */
#define TROUBLES 2
#endif
#ifndef PLAN        /* so that more workers fit, fewer things: 1: one pushes, one undoes, the rest push; 2: or undo */
#define PLAN 0
#endif
#define ROWS    (WORKERS + SETTLE)  /* pushes of the order */
#define TASKS   (3 + SETTLE)        /* drafts at the service; the last one is the settler's */
#define NONE    9
#define JUMP    100                 /* more than all claims of a search */

/* An epoch tells one claim from all others, so it stands here for who made the last one: fewer states than numbers
   that grow. Where a number may come a second time, it is the number. */
#ifndef NUMBERS
#define NUMBERS (COPY && !(COUNTER && ABOVE && FRESH))
#endif

mtype = { PENDING, DRAFTING, DRAFTED, BROADCASTING, CREATED, REFUSED, IN_DOUBT, CANCELLED, ALREADY_PUSHED, SUPERSEDED, CANCELLING };
mtype = { DRAFT, LIVE, GONE_BACK };

/* --- the ledger: a row (a chunk of one order) for each run that the order was pushed in -------------------------- */

byte  rows = 0;             /* how many there are */
mtype state[ROWS];
byte  epoch[ROWS];          /* of the chunk: raised when it is claimed, or taken from who had claimed it */
byte  recorded[ROWS];       /* the task id, 0 for none */
byte  payload[ROWS];        /* which content the file had: 1, or 2 after a correction */
byte  run_epoch[ROWS];      /* raised by accept-older; with RUNS=1 also by whoever takes the run up, or takes it over */
byte  key = NONE;           /* the row that has the key, or had it last */

/* --- a copy of it, as accept-older would leave it ---------------------------------------------------------------- */

byte  old_rows = 0;
mtype old_state[ROWS];
byte  old_epoch[ROWS];
byte  old_recorded[ROWS];
byte  old_payload[ROWS];
byte  old_key = NONE;
bool  put_back = false;     /* the ledger is the older copy, from now on */
bool  old_created = false;  /* which said that the order was created */

/* --- the service: the tasks of the order, numbered from 1 ------------------------------------------------------- */

byte  tasks = 0;
mtype task[TASKS + 1];
byte  content[TASKS + 1];   /* the payload it was made from */
bool  was_live[TASKS + 1];
bool  coming[TASKS + 1];    /* a broadcast of it was given up for lost, and is still on its way */
bool  ending[TASKS + 1];    /* a cancel of it was; false again when it acted, or its time has passed */
byte  live = 0;             /* drivers called for this order, at this moment */

byte  started = 0;
byte  troubles = TROUBLES;
bool  still = false;        /* the troubles are over, and all workers so far are dead */

#define HELD           (run_epoch[r] == h)
#define MINE           (HELD && (!FENCE || epoch[r] == e))
#define ME             (number + 1)
#define UNLUCKY        troubles > 0 -> troubles--
#define MORE           (tasks < 3)
#define ROOM           (rows < WORKERS)
#define ADOPTABLE(n)   troubles > 0 && task[n] == DRAFT && (!SAME || content[n] == payload[r])
#define TURN           number > 0 && started == number   /* they are all alike: it is enough that they begin in turn */
#define UNDOABLE       (!FREE && !(old_created && !OLD_UNDO))
#define LETS_GO(s)     (s == REFUSED || s == CANCELLED)
#define FREE           (key == NONE || LETS_GO(state[key]))
#define CLAIMED(s)     (s == DRAFTING || s == BROADCASTING)
#define PERHAPS(s)     (s == BROADCASTING || s == IN_DOUBT || s == CANCELLING)
#define SETTLED(n)     (state[n] != CANCELLING || !WAIT || !ending[recorded[n]])
#define UNPROCESSED(s) (s == PENDING || s == DRAFTING || s == DRAFTED)
#define CLEARED        r = 0; e = 0; h = 0; t = 0; clean = false; refused = false

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
    assert(FREE || !UNPROCESSED(state[key]) || live == 0);
    assert(FREE || state[key] != CREATED || was_live[recorded[key]]);
    assert(FREE || state[key] != CREATED || !ending[recorded[key]] || task[recorded[key]] == GONE_BACK || put_back);
    assert(FREE || state[key] != CREATED || content[recorded[key]] == payload[key] || put_back)
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
    task[t] = GONE_BACK; coming[t] = false; ending[t] = false
}

inline make_draft(carries, t) { tasks++; t = tasks; task[t] = DRAFT; content[t] = carries }

/* --- single writes to the ledger -------------------------------------------------------------------------------- */

inline mark(target) {
    state[r] = target;
    if
    :: !NUMBERS && !CLAIMED(target) -> epoch[r] = 0     /* nobody's */
    :: else -> skip
    fi;
    TELL(target);
    judge()
}

inline raise(who) { epoch[r] = (NUMBERS -> epoch[r] + 1 : who) }

/* A compare-and-swap on epoch and state, whose new epoch is the claim's from now on. */
inline claim(target) { raise(ME); e = epoch[r]; mark(target) }

/* Its claim is taken from whoever was drafting: he may be dead, or only frozen. */
inline recover() {
    if
    :: state[r] == DRAFTING -> raise(0); mark(PENDING)
    :: else -> skip
    fi
}

/* Another run brings the order: it is let in, takes the key over from the run that has it, or stands back (NONE). */
inline admit(has, was, version) {
    if
    :: has != NONE && (was == CREATED || was == CANCELLING ||
                       PERHAPS(was) && (payload[has] != version || recorded[has] == 0)) ->
       TELL(ALREADY_PUSHED);
       r = NONE
    :: else ->
       r = rows; rows++; payload[r] = version; recorded[r] = 0; epoch[r] = 0; run_epoch[r] = RUNS;
       if
       :: put_back && COUNTER && FRESH -> run_epoch[r] = run_epoch[r] + JUMP; epoch[r] = epoch[r] + JUMP * NUMBERS
       :: else -> skip
       fi;
       h = run_epoch[r]; state[r] = PENDING;
       if
       :: has == NONE || LETS_GO(was) -> skip
       :: else ->
          if
          :: HEIR && recorded[has] != 0 && payload[has] == version ->
             recorded[r] = recorded[has]; state[r] = (was == DRAFTED -> DRAFTED : BROADCASTING)
          :: else -> skip     /* there may be drafts of it */
          fi;
          state[has] = SUPERSEDED; TELL(SUPERSEDED);
          epoch[has] = (NUMBERS -> epoch[has] + 1 : 0); run_epoch[has] = run_epoch[has] + RUNS
       fi;
       key = r;
       TELL(state[r]);
       judge()
    fi
}

#define STATE_OF_KEY (key == NONE -> 0 : state[key])
#if COMPARE     /* it is done over until nobody wrote in between: one step */
#define BRING(v) admit(key, STATE_OF_KEY, v)
#else
#define BRING(v) version = v; has = key; was = STATE_OF_KEY
#endif

/* A run is taken up, or one more worker goes on with it; of the others there is nothing to take up. */
inline hold() { r = key; run_epoch[r] = run_epoch[r] + RUNS; h = run_epoch[r] }

/* --- a process that pushes, resumes or undoes ------------------------------------------------------------------- */

/* It may stop between any two steps, for any time: that it is killed is only that it never goes on. There is no lock:
   several may have a run at any moment, so what is shown here does not rest on locks, nor on clocks. */
proctype worker(byte number) {
    byte r = 0, e = 0, h = 0, t = 0;
#if !COMPARE
    byte has = NONE, version = 0;
    mtype was = 0;
#endif
    bool clean = false;     /* certainly nothing of this broadcast left, or will */
    bool refused = false;   /* the service said no to the last try of the broadcast */
    {
    if
    :: atomic { started == 0 && number == 0 -> started++; BRING(1) } -> goto brought
    :: atomic { TURN && (!PLAN || number != 1) -> started++; BRING(1) } -> goto brought
    :: atomic { TURN && !PLAN -> started++; BRING(2) } -> goto brought
    :: atomic { TURN && !PLAN && !FREE -> started++; hold() } -> goto next
    :: atomic { TURN && PLAN && number == 1 && !UNDOABLE -> started++ } -> goto over
    :: atomic { TURN && (PLAN != 1 || number == 1) && UNDOABLE -> started++; hold() } -> goto undo
    fi;

brought:
#if !COMPARE
    atomic { r = 0; admit(has, was, version); has = NONE; version = 0; was = 0 };
#endif
    if
    :: r == NONE -> goto over
    :: r != NONE
    fi;

next:
    if
    :: atomic { HELD && state[r] == PENDING -> claim(DRAFTING) } -> goto draft
    :: atomic { HELD && state[r] == DRAFTED -> t = recorded[r]; clean = true; claim(BROADCASTING) } -> goto send
    :: atomic { HELD && PERHAPS(state[r]) && recorded[r] != 0 && SETTLED(r) ->
           t = recorded[r]; clean = !OWN;
           if
           :: state[r] == BROADCASTING && !TAKEN -> e = epoch[r]
           :: else -> claim(BROADCASTING)
           fi } -> goto look
    :: else -> goto over
    fi;

draft:  /* a create of a draft, until an answer names it */
    if
    :: atomic { MORE -> make_draft(payload[r], t) } -> goto keep
    /* made, and the answer is lost; not made, and no answer comes: */
    :: atomic { MORE && troubles > 0 -> troubles--; make_draft(payload[r], t); t = 0 } -> goto anew
    :: atomic { UNLUCKY } -> goto anew
    /* made, but another order has the same task by a wrong answer, and broadcasts it at some time: */
    :: atomic { MINE && state[r] == DRAFTING && MORE && troubles > 0 ->
           troubles--; make_draft(payload[r], t); coming[t] = true; t = 0;
           if
           :: OTHERS -> mark(IN_DOUBT); goto over
           :: else -> skip
           fi } -> goto anew
    /* its tracking id is taken, by a draft whose answer was lost as it seems: */
    :: atomic { ADOPTABLE(1) -> troubles--; t = 1 } -> goto keep
    :: atomic { ADOPTABLE(2) -> troubles--; t = 2 } -> goto keep
    :: atomic { ADOPTABLE(3) -> troubles--; t = 3 } -> goto keep
    /* refused; not sent, or tried often enough: */
    :: atomic { MINE && state[r] == DRAFTING && troubles > 0 -> troubles--; mark(REFUSED) } -> goto over
    :: atomic { MINE && state[r] == DRAFTING && troubles > 0 -> troubles--; mark(PENDING) } -> goto over
    :: !MORE -> goto over
    fi;

anew:   /* it waits again, and is claimed anew before it is drafted anew */
    atomic {
        if
        :: MINE && state[r] == DRAFTING -> mark(PENDING)
        :: else -> goto over
        fi
    };
    goto next;

keep:   /* record the draft, and that it will be broadcast */
    atomic {
        if
        :: MINE && (state[r] == DRAFTING && recorded[r] == 0 || !ONCE && state[r] == BROADCASTING) ->
           recorded[r] = t;
           if
           :: INTENT == 1 -> clean = true; mark(BROADCASTING)
           :: INTENT == 2 -> t = 0; mark(DRAFTED); goto next
           :: INTENT == 0 -> clean = true; mark(DRAFTED)
           fi
        :: else -> goto over
        fi
    };

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
    :: task[t] == DRAFT && refused && (clean || !CERTAIN) -> goto said_no
    :: task[t] == DRAFT && !(refused && (clean || !CERTAIN)) -> goto send
    :: task[t] == DRAFT && !(refused && (clean || !CERTAIN)) -> goto give_up
    fi;

again:
    if
    :: goto send
    :: goto give_up
    fi;

created:
    atomic {
        if
        :: MINE && state[r] == BROADCASTING || HELD && state[r] == IN_DOUBT -> mark(CREATED)
        :: MINE && state[r] == CANCELLING && (clean || SETTLED(r)) -> mark(CREATED)
        :: else -> skip
        fi;
        goto over
    };

taken_back:
    atomic {
        if
        :: MINE && state[r] == BROADCASTING -> mark(CANCELLED)
        :: HELD && (state[r] == DRAFTED || state[r] == CREATED || state[r] == IN_DOUBT || state[r] == CANCELLING) ->
           mark(CANCELLED)
        :: else -> skip
        fi;
        goto over
    };

gone:
    atomic {
        if
        :: MINE && state[r] == BROADCASTING -> mark(IN_DOUBT)
        :: else -> skip
        fi;
        goto over
    };

said_no:
    atomic {
        if
        :: MINE && state[r] == BROADCASTING -> mark(REFUSED)
        :: else -> skip
        fi;
        goto over
    };

give_up:
    atomic {
        if
        :: (clean || !STAY) && MINE && state[r] == BROADCASTING -> mark(DRAFTED)
        :: else -> skip
        fi;
        goto over
    };

undo:   /* before a cancel leaves, the order is `cancelling`, under an epoch of its own. The write and the first byte are
           one step here: a process that stands still between them is what cannot be promised */
    atomic {
        if
        :: HELD && recorded[r] != 0 && (state[r] == DRAFTED || state[r] == CREATED || PERHAPS(state[r])) ->
           t = recorded[r]; clean = (state[r] != CANCELLING);
           mark(CANCELLING); epoch[r] = (NUMBERS -> epoch[r] + 1 : ME); e = epoch[r]
        :: else -> goto over
        fi;
        if
        :: true -> cancel(t)
        /* The answer is lost; too late, refused, or never sent; lost on its way, and perhaps late: */
        :: UNLUCKY; cancel(t); goto over
        :: UNLUCKY; goto created_still
        :: LATE && troubles > 0 && task[t] != GONE_BACK -> troubles--; ending[t] = true; goto over
        fi
    };
    if
    :: !PROVEN || task[t] == GONE_BACK -> goto taken_back      /* it is read */
    :: atomic { UNLUCKY } -> goto over
    fi;

created_still:
    if
    :: !PROVEN -> goto taken_back
    :: PROVEN && task[t] == LIVE -> goto created
    :: PROVEN && task[t] != LIVE -> goto over
    fi;

over:
    atomic { CLEARED }
    }
#if SETTLE
    unless { atomic { still -> CLEARED } }
#endif
}

/* A lease is over: that proves nothing, so it acts at any moment. What is broadcasting is left alone. */
active proctype sweeper() {
    byte r = 0;
end:
    do
    :: atomic { key != NONE && state[key] == DRAFTING && !still -> r = key; recover(); r = 0 }
    od
}

/* What was given up for lost may arrive at any time after. */
active proctype wire() {
end:
    do
    :: atomic { coming[1] -> broadcast(1) }
    :: atomic { coming[2] -> broadcast(2) }
    :: atomic { coming[3] -> broadcast(3) }
#if LATE
    :: atomic { ending[1] -> cancel(1) }
    :: atomic { ending[2] -> cancel(2) }
    :: atomic { ending[3] -> cancel(3) }
    :: ending[1] -> ending[1] = false       /* its time has passed: it can act no more */
    :: ending[2] -> ending[2] = false
    :: ending[3] -> ending[3] = false
#endif
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

#if COPY
/* One row as the copy has it, and as accept-older will leave it: for fewer states it is done right away. */
inline copy_row(i) {
    if
    :: i < rows ->
       old_state[i] = state[i]; old_recorded[i] = recorded[i]; old_payload[i] = payload[i];
       old_epoch[i] = (NUMBERS -> epoch[i] + COUNTER * (ABOVE -> JUMP : 1) : 0);
       if
       :: COUNTER && (UNPROCESSED(state[i]) || FORGET && PERHAPS(state[i])) ->
          old_state[i] = IN_DOUBT; old_recorded[i] = 0
       :: else -> skip
       fi
    :: else -> skip
    fi
}

inline put_back_row(i) {
    state[i] = old_state[i]; epoch[i] = old_epoch[i]; recorded[i] = old_recorded[i]; payload[i] = old_payload[i];
    if
    :: COUNTER && ABOVE && i < old_rows -> run_epoch[i] = run_epoch[i] + JUMP
    :: i >= old_rows -> run_epoch[i] = 0
    :: else -> skip
    fi;
    old_state[i] = 0; old_epoch[i] = 0; old_recorded[i] = 0; old_payload[i] = 0
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

/* Evidence by the order's tracking id: the only end of what is in doubt and has no recorded draft. */
#define IS_ONE(n)  (task[n] == LIVE)
#define WAS_ONE(n) (task[n] == GONE_BACK && was_live[n])
#define NO_MORE(n) (n > tasks || task[n] == GONE_BACK)
#define CANCEL_SEEN (live == 0 && (WAS_ONE(1) || WAS_ONE(2) || WAS_ONE(3)) && \
                     (!ALL || NO_MORE(1) && NO_MORE(2) && NO_MORE(3)))
active proctype evidence() {
    byte r = 0;
end:
    do
    :: atomic { !FREE && state[key] == IN_DOUBT && recorded[key] == 0 && (live == 1 || CANCEL_SEEN) && !still ->
           r = key;
           if
           :: IS_ONE(1) -> recorded[r] = 1; mark(CREATED)
           :: IS_ONE(2) -> recorded[r] = 2; mark(CREATED)
           :: IS_ONE(3) -> recorded[r] = 3; mark(CREATED)
           :: else -> mark(CANCELLED)
           fi;
           r = 0 }
    od
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
        :: FREE || state[key] != CANCELLING -> admit(key, state[key], payload[key])
        fi
    };
    do
    :: atomic { r != NONE && state[r] == PENDING ->
           claim(DRAFTING); make_draft(payload[r], t); recorded[r] = t; mark(BROADCASTING) }
    :: atomic { r != NONE && state[r] == DRAFTED -> claim(BROADCASTING) }
    :: atomic { r != NONE && state[r] == BROADCASTING ->
           t = recorded[r];
           if
           :: task[t] == DRAFT -> broadcast(t)
           :: task[t] == LIVE -> mark(CREATED)
           :: task[t] == GONE_BACK -> mark(CANCELLED)
           fi
       }
    :: atomic { r != NONE && state[r] == IN_DOUBT && recorded[r] != 0 -> claim(BROADCASTING) }
    :: atomic { r != NONE && state[r] == CANCELLING && !ending[recorded[r]] -> claim(BROADCASTING) }
    :: r != NONE && state[r] == CANCELLING && ending[recorded[r]] -> !ending[recorded[r]]  /* until its time has passed */
    :: else -> break
    od;
    atomic {
        if
        :: FREE -> assert(r == NONE || state[r] == CANCELLED && task[recorded[r]] == GONE_BACK)
        :: !FREE && (put_back || recorded[key] == 0) -> assert(state[key] == CREATED || state[key] == IN_DOUBT)
        :: else -> assert(state[key] == CREATED && (live == 1 || task[recorded[key]] == GONE_BACK))
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
