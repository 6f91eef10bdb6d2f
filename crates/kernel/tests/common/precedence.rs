//! Precedence, for any operation: each status by itself, and each two of them in one row.

use std::fmt::Debug;

/// One way to be refused.
pub struct Violation<Case, Status> {
    /// What it is refused with, when nothing of higher precedence applies.
    pub status: Status,
    /// Brings it about.
    pub apply: fn(&mut Case),
    /// Whether it is the case.
    pub holds: fn(&Case) -> bool,
}

/// Checks one kind of row.
///
/// `violations` are all that can happen to it, in order of precedence. Each alone gives its status. Of each two
/// that a row can have at once the first in order wins. Neighbours must be able to occur together unless
/// `exclusive` says that they cannot, so that no order goes unproven; and what it says must be true.
pub fn check<Case, Status: Copy + Debug + PartialEq + 'static>(
    fresh: fn() -> Case,
    succeeds: Status,
    submit: fn(Case) -> Status,
    all: &'static [Status],
    violations: &[Violation<Case, Status>],
    exclusive: &[(Status, Status)],
) {
    assert_eq!(submit(fresh()), succeeds);
    let rank = |status| all.iter().position(|other| *other == status).expect("a status of the operation");
    assert!(violations.is_sorted_by_key(|violation| rank(violation.status)), "the table is not in order");
    for (index, first) in violations.iter().enumerate() {
        let mut case = fresh();
        (first.apply)(&mut case);
        assert!((first.holds)(&case));
        assert_eq!(submit(case), first.status, "alone");

        for (distance, second) in violations[index + 1..].iter().enumerate() {
            let mut case = fresh();
            (second.apply)(&mut case);
            (first.apply)(&mut case);
            let both = (first.holds)(&case) && (second.holds)(&case);
            let pair = (first.status, second.status);
            if distance == 0 {
                assert_eq!(both, !exclusive.contains(&pair), "{pair:?}: can both be the case?");
            }
            if both {
                assert_eq!(submit(case), first.status, "{pair:?}: the first must win");
            }
        }
    }
    for pair in exclusive {
        let neighbours = violations.windows(2).any(|two| (two[0].status, two[1].status) == *pair);
        assert!(neighbours, "{pair:?} are not neighbours, so nothing need be said of them");
    }
}

/// A table of violations of a case: status, how it comes about, whether it is the case.
#[macro_export]
macro_rules! violations {
    ($case_type:ty; $($status:ident: |$case:ident| $change:expr, $test:expr;)*) => {
        vec![$($crate::common::precedence::Violation {
            status: $status,
            apply: |$case: &mut $case_type| $change,
            holds: |$case: &$case_type| $test,
        }),*]
    };
}
