//! Cases of the time of observation, and of the room for sessions.

use super::{
    Line,
    Line::{Clear, ClearObserved, Get, Pass, Set, SetMany, SetObserved},
    SECOND,
    Want::{Done, Invalid, NoRoom, NotFound, Shows, Stale},
};

pub(super) const CASES: &[(&str, &[Line])] = &[
    (
        "a late busy after hung up",
        &[
            Pass(10 * SECOND),
            ClearObserved("u", "app", 9 * SECOND, NotFound),
            SetObserved("u", "app", "Busy/InACall", 8 * SECOND, Stale),
            Get("u", Shows("Offline/Offline")),
            SetObserved("u", "app", "Away/Away", 10 * SECOND, Done),
            SetObserved("u", "app", "Busy/InACall", 9_999, Stale),
            ClearObserved("u", "app", 9_999, Stale),
            Get("u", Shows("Away/Away")),
            ClearObserved("u", "app", 10_001, Done),
            SetObserved("u", "app", "Busy/InACall", 10 * SECOND, Stale),
            Get("u", Shows("Offline/Offline")),
        ],
    ),
    (
        "equal is not stale",
        &[
            SetObserved("u", "app", "Busy/InACall", 0, Done),
            SetObserved("u", "app", "Busy/InACall", 0, Done),
            SetObserved("u", "app", "Away/Away", 0, Done),
            Get("u", Shows("Away/Away")),
            ClearObserved("u", "app", 0, Done),
            ClearObserved("u", "app", 0, NotFound),
            SetObserved("u", "app", "Busy/InACall", 0, Done),
            Get("u", Shows("Busy/InACall")),
        ],
    ),
    (
        "a clear of a missing session makes an earlier set stale",
        &[
            ClearObserved("u", "app", SECOND, NotFound),
            SetObserved("u", "app", "Busy/InACall", 999, Stale),
            SetObserved("u", "other", "Away/Away", 999, Done),
            Get("u", Shows("Away/Away")),
            SetObserved("u", "app", "Busy/InACall", SECOND, Done),
            Get("u", Shows("Busy/InACall")),
        ],
    ),
    (
        "a clear of an ended session makes an earlier set stale",
        &[
            SetObserved("u", "app", "Busy/InACall", 0, Done),
            ClearObserved("u", "app", SECOND, Done),
            ClearObserved("u", "app", 3 * SECOND, NotFound),
            SetObserved("u", "app", "Busy/InACall", 2 * SECOND, Stale),
            Get("u", Shows("Offline/Offline")),
        ],
    ),
    (
        "5 s ahead is accepted, 5.001 s is invalid",
        &[
            SetObserved("u", "app", "Busy/InACall", 5_001, Invalid(&["observed_time"])),
            ClearObserved("u", "app", 5_001, Invalid(&["observed_time"])),
            SetObserved("u", "app", "Busy/InACall", 5_000, Done),
            ClearObserved("u", "app", 5_000, Done),
            Pass(1),
            SetObserved("u", "app", "Busy/InACall", 5_001, Done),
            Get("u", Shows("Busy/InACall")),
        ],
    ),
    (
        "a write without a time is never stale",
        &[
            SetObserved("u", "app", "Busy/InACall", 5 * SECOND, Done),
            Set("u", "app", "Away/Away", "PT1H", Done),
            Get("u", Shows("Away/Away")),
            // It counts as observed one millisecond later.
            SetObserved("u", "app", "Busy/InACall", 5 * SECOND, Stale),
            Clear("u", "app", Done),
            Pass(SECOND),
            SetObserved("u", "app", "Busy/InACall", 5_001, Stale),
            SetObserved("u", "app", "Busy/InACall", 5_002, Done),
            Get("u", Shows("Busy/InACall")),
        ],
    ),
    (
        "the 21st session of one application clears its oldest",
        &[
            Set("u", "other", "Away/Away", "PT1H", Done),
            SetMany("u", "app:", 20),
            Pass(1),
            // A refresh makes the second session the oldest.
            Set("u", "app:1", "Busy/InACall", "PT1H", Done),
            Set("u", "app", "Busy/InACall", "PT1H", Done),
            Clear("u", "app:2", NotFound),
            Clear("u", "app:1", Done),
            Clear("u", "app:3", Done),
            Clear("u", "app", Done),
            Clear("u", "other", Done),
        ],
    ),
    (
        "the 101st live session is refused",
        &[
            SetMany("u", "a:", 20),
            SetMany("u", "b:", 20),
            SetMany("u", "c:", 20),
            SetMany("u", "d:", 20),
            SetMany("u", "e:", 20),
            Set("u", "f", "DoNotDisturb/Presenting", "PT1H", NoRoom),
            Get("u", Shows("Busy/InACall")),
            Clear("u", "f", NotFound),
            // A refresh needs no room, and neither does a session for which another one was cleared.
            Set("u", "a:1", "Busy/InACall", "PT1H", Done),
            Clear("u", "b:1", Done),
            Set("u", "f", "DoNotDisturb/Presenting", "PT1H", Done),
            Get("u", Shows("DoNotDisturb/Presenting")),
            Set("u", "g", "Busy/InACall", "PT1H", NoRoom),
        ],
    ),
];
