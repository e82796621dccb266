//! Draws a view. A function of the view alone, so that tests read what a terminal would show.

use covtap_model::percent::Ratio;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

use super::view::{Row, View};
use crate::units::count;

const HELP: [&str; 9] = [
    "m        set the mark: from now on, what is newly covered is counted",
    "up, k    the process above",
    "down, j  the process below",
    "?, h     this help",
    "q, Esc   end (Ctrl-C too)",
    "",
    "NEW and the list on the right count statements that ran since the mark",
    "and had not run before. A process that started after it is all new.",
    "Processes are not stopped, and nothing is kept.",
];

/// Columns of a row beside the process's name.
const NUMBERS: usize = 8 + 10 + 16 + 8 + 11 + 12;
/// Rows of processes beside the head, at most a part of the screen.
const MOST_ROWS: u16 = 12;

pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let area = frame.area();
    let rows = u16::try_from(view.rows.len()).unwrap_or(u16::MAX);
    let most = MOST_ROWS.min(area.height / 2);
    let [head, table, troubles, below, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(rows.clamp(1, most.max(1)) + 1),
        Constraint::Length(u16::try_from(view.troubles.len()).unwrap_or(3).min(3)),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(title(view), head);
    processes(frame, view, table);
    let shown = view.troubles.iter().take(3);
    let shown: Vec<Line<'_>> = shown
        .map(|t| Line::styled(t.as_str(), paint(view, Color::Yellow)))
        .collect();
    frame.render_widget(Paragraph::new(shown), troubles);
    closer(frame, view, below);
    let keys = "m mark   up/down select   ? help   q quit";
    frame.render_widget(Paragraph::new(Line::styled(keys, dim())), foot);
    if view.help {
        help(frame, area);
    }
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

/// A colour, where colours are wanted.
fn paint(view: &View, color: Color) -> Style {
    if view.color {
        Style::new().fg(color)
    } else {
        Style::new()
    }
}

fn title(view: &View) -> Paragraph<'_> {
    let running = view.rows.iter().filter(|row| row.end.is_none()).count();
    let mut text = format!("  {} running", count(running, "process", "processes"));
    if let Some(marked) = &view.marked {
        let fresh: u64 = view.rows.iter().filter_map(|row| row.fresh).sum();
        text += &format!("   +{fresh} statements since the mark at {marked} UTC");
    }
    let method = format!("   {}", view.method);
    Paragraph::new(Line::from(vec![
        Span::styled("covtap watch", bold()),
        Span::raw(text),
        Span::styled(method, dim()),
    ]))
}

fn processes(frame: &mut Frame<'_>, view: &View, area: Rect) {
    let width = usize::from(area.width).saturating_sub(NUMBERS).max(8);
    let head = format!(
        "{:width$}{:>8}{:>10}{:>16}{:>8}{:>11}  STATE",
        "PROCESS", "PID", "COVERAGE", "STATEMENTS", "NEW", "SNAPSHOTS"
    );
    let mut lines = vec![Line::styled(head, bold())];
    if view.rows.is_empty() {
        lines.push(Line::styled(
            "no instrumented process that may be read runs (go build -cover makes them)",
            dim(),
        ));
    }
    // The selected one is always to be seen.
    let room = usize::from(area.height).saturating_sub(1).max(1);
    let first = (view.selected + 1).saturating_sub(room);
    for (i, row) in view.rows.iter().enumerate().skip(first).take(room) {
        lines.push(process(view, row, i == view.selected, width));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn process<'a>(view: &View, row: &Row, selected: bool, width: usize) -> Line<'a> {
    let Ratio { covered, total } = row.statements;
    let fresh = match row.fresh {
        Some(fresh) => format!("+{fresh}"),
        None => "-".into(),
    };
    let state = row.end.as_deref().unwrap_or("running");
    let mark = if selected { "> " } else { "  " };
    let text = format!(
        "{:width$}{:>8}{:>10}{:>16}",
        format!("{mark}{}", cut(&row.name, width.saturating_sub(3))),
        row.pid(),
        row.statements.to_string(),
        format!("{covered} of {total}"),
    );
    let new = match row.fresh {
        Some(1..) => paint(view, Color::Green),
        _ => Style::new(),
    };
    let rest = format!("{:>11}  {state}", row.snapshots);
    let line = Line::from(vec![
        Span::raw(text),
        Span::styled(format!("{fresh:>8}"), new),
        Span::raw(rest),
    ]);
    match (selected, &row.end) {
        (true, _) => line.style(bold()),
        (false, Some(_)) => line.style(dim()),
        (false, None) => line,
    }
}

/// The selected process: its packages, and what of it is new.
fn closer(frame: &mut Frame<'_>, view: &View, area: Rect) {
    let Some(row) = view.rows.get(view.selected) else {
        return;
    };
    let of = format!(" packages of {} ({}) ", row.name, row.pid());
    let [left, right] = if view.marked.is_some() {
        Layout::horizontal([Constraint::Percentage(55), Constraint::Percentage(45)]).areas(area)
    } else {
        [area, Rect::default()]
    };
    let block = Block::bordered().title(of);
    let inner = block.inner(left);
    frame.render_widget(block, left);
    let lines: Vec<Line<'_>> = view
        .packages
        .iter()
        .take(usize::from(inner.height))
        .map(|(path, ratio)| bar(view, path, *ratio, usize::from(inner.width)))
        .collect();
    frame.render_widget(Paragraph::new(lines), inner);
    if right.area() == 0 {
        return;
    }
    let block = Block::bordered().title(" new since the mark ");
    let inner = block.inner(right);
    frame.render_widget(block, right);
    let width = usize::from(inner.width).saturating_sub(7);
    let mut lines: Vec<Line<'_>> = view
        .fresh
        .iter()
        .take(usize::from(inner.height))
        .map(|(name, new)| Line::raw(format!("{:>6} {}", format!("+{new}"), tail(name, width))))
        .collect();
    if lines.is_empty() {
        lines.push(Line::styled("nothing yet", dim()));
    }
    frame.render_widget(Paragraph::new(lines), inner);
}

/// `path ████░░░░ 50.0%`
fn bar<'a>(view: &View, path: &str, ratio: Ratio, width: usize) -> Line<'a> {
    let name = width / 2;
    let length = width.saturating_sub(name + 1 + 8);
    let full = ratio.permille().map_or(0, usize::from) * length / 1000;
    let color = match ratio.permille() {
        Some(1000) => Color::Green,
        Some(1..) => Color::Yellow,
        _ => Color::Red,
    };
    Line::from(vec![
        Span::raw(format!("{:name$} ", tail(path, name))),
        Span::styled("\u{2588}".repeat(full), paint(view, color)),
        Span::styled("\u{2591}".repeat(length - full), dim()),
        Span::raw(format!(" {:>7}", ratio.to_string())),
    ])
}

fn help(frame: &mut Frame<'_>, area: Rect) {
    let height = u16::try_from(HELP.len()).unwrap_or(0) + 2;
    let [middle] = Layout::vertical([Constraint::Length(height)])
        .flex(ratatui::layout::Flex::Center)
        .areas(area);
    let [middle] = Layout::horizontal([Constraint::Length(76)])
        .flex(ratatui::layout::Flex::Center)
        .areas(middle);
    frame.render_widget(Clear, middle);
    let text: Vec<Line<'_>> = HELP.into_iter().map(Line::raw).collect();
    frame.render_widget(
        Paragraph::new(text).block(Block::bordered().title(" help ")),
        middle,
    );
}

/// The beginning of a text that is too long.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    kept + "\u{2026}"
}

/// The end of a text that is too long: of a path that tells more.
fn tail(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let kept = text.chars().skip(length - width.saturating_sub(1));
    format!("\u{2026}{}", kept.collect::<String>())
}

#[cfg(test)]
mod tests {
    use covtap_tap::life::Key;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn view() -> View {
        let row = |pid, name: &str, covered, end: Option<&str>| Row {
            key: Key {
                pid,
                start_ticks: u64::from(pid),
                generation: 0,
            },
            name: name.into(),
            statements: Ratio::new(covered, 200),
            snapshots: 5,
            fresh: None,
            end: end.map(Into::into),
        };
        View {
            method: "process events".into(),
            rows: vec![
                row(812, "api", 100, None),
                row(815, "worker", 199, None),
                row(90, "job", 0, Some("exit 0")),
            ],
            packages: vec![
                ("example.org/shop/api".into(), Ratio::new(1, 2)),
                ("example.org/shop/store".into(), Ratio::new(3, 3)),
            ],
            ..View::default()
        }
    }

    /// What a terminal of this size shows.
    fn shown(view: &View, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, view)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y| -> String {
            let cells = (0..width).map(|x| buffer[(x, y)].symbol());
            cells.collect::<String>().trim_end().to_owned()
        };
        (0..height).map(line).collect()
    }

    #[test]
    fn processes_and_packages_are_shown() {
        let lines = shown(&view(), 90, 14);
        assert_eq!(
            lines[0],
            "covtap watch  2 processes running   process events"
        );
        assert_eq!(
            lines[1],
            "PROCESS                       PID  COVERAGE      STATEMENTS     NEW  SNAPSHOTS  STATE"
        );
        assert_eq!(
            lines[2],
            "> api                         812     50.0%      100 of 200       -          5  running"
        );
        assert_eq!(
            lines[3],
            "  worker                      815     99.5%      199 of 200       -          5  running"
        );
        assert!(lines[4].ends_with("5  exit 0"), "{}", lines[4]);
        assert!(lines[5].contains(" packages of api (812) "));
        assert!(lines[6].contains("example.org/shop/api"), "{}", lines[6]);
        assert!(lines[6].contains("\u{2588}\u{2591}") && lines[6].contains("50.0%"));
        assert!(!lines[7].contains('\u{2591}') && lines[7].contains("100.0%"));
        assert_eq!(lines[13], "m mark   up/down select   ? help   q quit");
    }

    #[test]
    fn a_mark_shows_what_is_new() {
        let mut view = view();
        view.marked = Some("10:15:00".into());
        view.rows[0].fresh = Some(7);
        view.rows[1].fresh = Some(0);
        view.fresh = vec![("example.org/shop/api.Create".into(), 7)];
        let text = shown(&view, 100, 14).join("\n");
        assert!(
            text.contains("+7 statements since the mark at 10:15:00 UTC"),
            "{text}"
        );
        assert!(text.contains(" new since the mark "), "{text}");
        assert!(text.contains("+7 example.org/shop/api.Create"), "{text}");
    }

    #[test]
    fn the_selected_row_is_in_sight_and_help_covers_all() {
        let mut view = view();
        let row = view.rows[0].clone();
        view.rows = (0..50)
            .map(|i| Row {
                name: format!("svc{i}"),
                ..row.clone()
            })
            .collect();
        view.selected = 40;
        let text = shown(&view, 90, 16).join("\n");
        assert!(text.contains("> svc40"), "{text}");
        view.help = true;
        let text = shown(&view, 90, 24).join("\n");
        assert!(text.contains("set the mark"), "{text}");
    }

    #[test]
    fn nothing_runs_and_troubles_are_said() {
        let view = View {
            troubles: vec!["api (7): may not be read".into()],
            ..View::default()
        };
        let text = shown(&view, 90, 10).join("\n");
        assert!(text.contains("no instrumented process"), "{text}");
        assert!(text.contains("api (7): may not be read"), "{text}");
    }

    #[test]
    fn every_size_is_drawn() {
        let mut view = view();
        view.marked = Some("10:15:00".into());
        view.help = true;
        for width in [1, 2, 10, 40, 300] {
            for height in [1, 2, 3, 5, 8, 60] {
                shown(&view, width, height);
            }
        }
    }

    #[test]
    fn colours_are_only_where_they_are_wanted() {
        for color in [false, true] {
            let view = View { color, ..view() };
            let mut terminal = Terminal::new(TestBackend::new(90, 14)).unwrap();
            terminal.draw(|frame| draw(frame, &view)).unwrap();
            let cells = terminal.backend().buffer().content().iter();
            let colored = cells.filter(|c| c.fg != Color::Reset).count();
            assert_eq!(colored > 0, color);
        }
    }
}
