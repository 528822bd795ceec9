/* An order that was submitted, in direct mode: desks take it from a table, claim it in a run, and remove it when its
   outcome is known; somebody else creates it under the same key meanwhile.

   models/README.md says how to run it, and which function of the package does each step. What a claim and its call do
   is in direct.pml: here it is as short as it can be.

   The rules that a desk rests on. Each may be taken away by -DNAME=0, and then an assertion must fail: */
#ifndef MARK        /* a desk claims an order only if it still waits, and no desk has marked it */
#define MARK 1
#endif
#ifndef TOGETHER    /* the claim and the mark are one write; 0: first the mark */
#define TOGETHER 1
#endif
#ifndef UNMARK      /* the write that withdraws an order takes the mark away */
#define UNMARK 1
#endif
#ifndef DOUBT       /* what was being sent when it is taken over is in doubt, and not sent again */
#define DOUBT 1
#endif
#ifndef KEY         /* a key that is being sent, in doubt or created is not claimed again */
#define KEY 1
#endif

/* The size: desks, callers who create the same key, and troubles: lost answers, refusals and failed tries, together. */
#ifndef DESKS
#define DESKS 2
#endif
#ifndef CALLERS
#define CALLERS 1
#endif
#ifndef TROUBLES
#define TROUBLES 3
#endif
#define NOBODY 9
#define LAST (DESKS + CALLERS)    /* the desk that is opened in the end, after all troubles */

mtype = { NONE, SENDING, CREATED, REFUSED, IN_DOUBT, WITHDRAWN };
mtype = { CREATES, LOSES, REFUSES, NEVER_LEAVES };

/* The ledger. */
mtype row = NONE;
byte claim = NOBODY;              /* who claimed the row: stands for the epoch */
bool waits = true, marked = false;

/* The service. */
byte live = 0, troubles = 0;
bool late = false;                /* a create that was given up for lost may still act */

bool said_refused = false;        /* whoever submitted the order was told so */

#define FREE (row == NONE || row == REFUSED || row == WITHDRAWN)

inline act() {
    live++;
    assert(live <= 1)
}

/* One call: it acts and is answered; acts, or will act, or never acts, and the answer is lost; is refused; or never leaves. */
inline call_service(is_last) {
    if
    :: act(); answer = CREATES
    :: !is_last && troubles < TROUBLES -> troubles++;
        if
        :: act(); answer = LOSES
        :: !late -> late = true; answer = LOSES
        :: answer = LOSES
        :: answer = REFUSES
        :: answer = NEVER_LEAVES
        fi
    fi
}

/* The write after a call. What another one has taken over is not touched. */
inline record(me) {
    if
    :: row != SENDING || claim != me
    :: else ->
        if
        :: answer == CREATES -> row = CREATED
        :: answer == LOSES -> row = IN_DOUBT
        :: answer == REFUSES -> row = REFUSED
        :: answer == NEVER_LEAVES -> row = WITHDRAWN;
            if
            :: UNMARK -> marked = false
            :: else
            fi
        fi
    fi
}

/* Whoever finds a row that is being sent may take it over, also from a process that only stands still. */
inline take_over(me) {
    if
    :: row == SENDING && claim != me -> claim = me;
        if
        :: DOUBT -> row = IN_DOUBT
        :: else -> row = WITHDRAWN; marked = false
        fi
    :: else
    fi
}

inline end_order() {
    assert(row == CREATED || row == IN_DOUBT || row == REFUSED);    /* else nobody would send it any more */
    if
    :: row == REFUSED -> said_refused = true
    :: else
    fi;
    waits = false
}

proctype desk(byte me; bool is_last) {
    mtype answer;
    bool mine;
    do
    :: !waits -> break
    :: waits ->
        mine = false;    /* the order is in hand; other desks may have it, too */
        if
        :: marked ->
look:       atomic {
                if
                :: waits && marked -> take_over(me);
                    if
                    :: marked -> end_order()
                    :: else
                    fi
                :: else
                fi
            }
        :: !marked ->
join:       atomic {
                if
                :: MARK && (!waits || marked)
                :: (!MARK || (waits && !marked)) && !TOGETHER -> marked = true; mine = true
                :: (!MARK || (waits && !marked)) && TOGETHER ->
                    if
                    :: FREE || !KEY ->
                        assert(!said_refused);    /* it is over, and would be sent all the same */
                        row = SENDING; claim = me; marked = true; mine = true
                    :: else ->
                        if
                        :: row == SENDING -> take_over(me)
                        :: else
                        fi;
                        if
                        :: waits && (row == CREATED || row == IN_DOUBT) -> end_order()
                        :: else
                        fi
                    fi
                fi
            }
            if
            :: mine && !TOGETHER ->
                atomic {
                    if
                    :: FREE -> row = SENDING; claim = me
                    :: else -> mine = false
                    fi
                }
            :: else
            fi;
            if
            :: mine ->
send:           call_service(is_last);
                atomic {
                    record(me);
                    if
                    :: waits && marked && claim == me && (row == CREATED || row == IN_DOUBT || row == REFUSED) -> end_order()
                    :: else
                    fi
                }
            :: else
            fi
        fi
    od
}

/* Creates an order with the same key and the same content, once. */
proctype caller(byte me) {
    mtype answer;
    bool mine = false;
    atomic {
        if
        :: FREE || !KEY -> row = SENDING; claim = me; mine = true
        :: else -> take_over(me)
        fi
    }
    if
    :: mine -> call_service(false); atomic { record(me) }
    :: else
    fi
}

/* What was given up for lost acts in the end, or never. */
proctype service() {
    do
    :: late -> late = false; act()
    :: late -> late = false
    :: timeout -> break
    od
}

init {
    byte number = 0;
    atomic {
        run service();
        do
        :: number < DESKS -> run desk(number, false); number++
        :: number >= DESKS && number < LAST -> run caller(number); number++
        :: number >= LAST -> break
        od
    }
    run desk(LAST, true);
    (_nr_pr == 2 || !waits);    /* the service, and this */
    assert(!waits)
}
