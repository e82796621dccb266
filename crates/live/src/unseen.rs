//! Containers that ran and of which no program was seen: too short for how processes are found. Their
//! cluster or engine knows that they were there, so they are rows too.

use std::collections::BTreeSet;

use covtap_model::ledger::{Container, Instrumented};
use covtap_tap::life::{End, Life};

use crate::rows::{Row, of_nothing};
use crate::surroundings::Whereabouts;

/// The module of runc. Until it becomes the container's first program, it is a process of the container.
const RUNC: &str = "github.com/opencontainers/runc";

/// Puts a row for each container of `ran` of which nothing was seen, in place of the rows of processes
/// in it that had ended before anybody could look. It is expected where its image is known to be
/// instrumented, from other containers of it; else nothing is known of it, and there is no row. Without
/// the hold (`held`) a program of it that is not instrumented proves nothing: a container's first process
/// is one of the runtime's before it becomes the image's.
pub(crate) fn add(rows: &mut Vec<Row>, lives: &[Life], held: bool, ran: &[Whereabouts]) {
    let seen: BTreeSet<&str> = lives
        .iter()
        .filter(|life| life.instrumented() == Some(true) || (held && is_program(life)))
        .filter_map(Life::container)
        .map(|id| id.as_str())
        .collect();
    let instrumented: BTreeSet<String> = rows
        .iter()
        .filter(|row| matches!(row.target.instrumented, Instrumented::Yes { .. }))
        .filter_map(|row| image(row.target.container.as_ref()?))
        .map(str::to_owned)
        .collect();
    for place in ran {
        let Some(id) = place.container.id.as_deref() else {
            continue;
        };
        let known = image(&place.container).is_some_and(|image| instrumented.contains(image));
        if !place.selected || seen.contains(id) || !known {
            continue;
        }
        let of_it =
            |row: &Row| row.target.container.as_ref().and_then(|c| c.id.as_deref()) == Some(id);
        if rows.iter().any(|row| of_it(row) && row.target.gave_data()) {
            continue;
        }
        rows.retain(|row| !of_it(row));
        rows.push(row(place.clone()));
    }
}

/// Whether a life is one of the container's own programs, and was looked at.
fn is_program(life: &Life) -> bool {
    let go = life.inspection.elf().and_then(|elf| elf.go.as_ref());
    let makes_it =
        matches!(life.end, End::Exec { .. }) || go.is_some_and(|go| go.main_module == RUNC);
    life.start_ticks != 0 && !makes_it
}

/// What an image is called, the surest name first.
fn image(container: &Container) -> Option<&str> {
    container.image_id.as_deref().or(container.image.as_deref())
}

fn row(place: Whereabouts) -> Row {
    of_nothing(
        (place.workload, Some(place.container)),
        "no program of it was seen",
        "other containers of its image are instrumented",
        "it ended before its program could be looked at; with CAP_SYS_ADMIN no program starts unseen (exec hold)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use covtap_model::ledger::Outcome;

    fn place(id: &str, image: &str) -> Whereabouts {
        Whereabouts {
            workload: "job/moment".into(),
            container: Container {
                id: Some(id.into()),
                image_id: Some(image.into()),
                ..Container::default()
            },
            selected: true,
        }
    }

    fn merged(id: &str, image: &str) -> Row {
        let mut row = row(place(id, image));
        row.target.instrumented = Instrumented::Yes {
            evidence: "x".into(),
        };
        row.target.outcome = Outcome::Merged;
        row
    }

    #[test]
    fn what_nobody_saw_is_a_gap_where_its_image_is_instrumented() {
        let mut rows = vec![merged("a", "shop")];
        let ran = vec![
            place("a", "shop"),
            place("b", "shop"),
            place("c", "postgres"),
        ];
        add(&mut rows, &[], false, &ran);
        let ids: Vec<_> = rows
            .iter()
            .map(|row| {
                row.target
                    .container
                    .as_ref()
                    .unwrap()
                    .id
                    .as_deref()
                    .unwrap()
            })
            .collect();
        assert_eq!(ids, ["a", "b"]);
        assert!(rows[1].target.is_gap() && !rows[0].target.is_gap());
    }

    #[test]
    fn a_process_that_was_missed_is_told_once() {
        let mut missed = row(place("b", "shop"));
        missed.target.expected = None;
        let mut rows = vec![merged("a", "shop"), missed];
        add(&mut rows, &[], false, &[place("b", "shop")]);
        assert_eq!(rows.len(), 2);
        assert!(rows[1].target.is_gap());
        // What was not asked for is no row.
        let other = Whereabouts {
            selected: false,
            ..place("d", "shop")
        };
        add(&mut rows, &[], false, &[other]);
        assert_eq!(rows.len(), 2);
    }
}
