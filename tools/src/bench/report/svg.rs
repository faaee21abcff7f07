//! A chart as inline SVG: axes, grid, lines, areas, labels, and what is shown under the pointer.
//!
//! Colours and line widths are classes that the page's style sheet defines, so that a chart follows light and dark.
//!
//! Does not: know what is plotted. Text that comes in is escaped here.

use std::fmt::{self, Write as _};

use crate::bench::report::axis::Axis;
use crate::bench::report::escape::Escaped;

const WIDTH: f64 = 920.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 46.0;

/// A chart under construction.
#[derive(Debug)]
pub(crate) struct Chart {
    x: Axis,
    y: Axis,
    body: String,
}

/// A value at a place, in the axes' units.
pub(crate) type Point = (f64, f64);

impl Chart {
    /// A chart with axes and grid; `x_label` and `y_label` write a tick's value, `x_name` says what runs to the right.
    pub(crate) fn new(
        x: Axis,
        y: Axis,
        x_name: &str,
        x_label: impl Fn(f64) -> String,
        y_label: impl Fn(f64) -> String,
    ) -> Chart {
        let mut chart = Chart { x, y, body: String::new() };
        for tick in chart.y.ticks.clone() {
            let at = chart.y_at(tick);
            chart.line("grid", LEFT, at, WIDTH - RIGHT, at);
            chart.text("tick end", LEFT - 10.0, at + 4.0, &y_label(tick));
        }
        for tick in chart.x.ticks.clone() {
            let at = chart.x_at(tick);
            let floor = HEIGHT - BOTTOM;
            chart.line("axis", at, floor, at, floor + 5.0);
            chart.text("tick middle", at, floor + 20.0, &x_label(tick));
        }
        chart.line("axis", LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM);
        chart.text("name middle", (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 6.0, x_name);
        chart
    }

    /// A line through the points, broken where there is none; a point alone becomes a dot.
    pub(crate) fn curve(&mut self, class: &str, points: &[Option<Point>]) {
        for run in points.split(Option::is_none) {
            let run: Vec<Point> = run.iter().flatten().copied().collect();
            match run[..] {
                [] => {}
                [point] => self.dot(class, point),
                _ => {
                    let path = self.path(&run);
                    self.push(format_args!("<path class=\"line {class}\" d=\"M{path}\"/>"));
                }
            }
        }
    }

    /// Steps from one edge to the next, filled down to the axis: `edges` has one more than `values`.
    pub(crate) fn steps(&mut self, class: &str, edges: &[f64], values: &[f64]) {
        assert_eq!(edges.len(), values.len() + 1, "each value has two edges");
        let steps = edges.windows(2).zip(values);
        let top: Vec<Point> =
            steps.flat_map(|(edge, value)| [(edge[0], *value), (edge[1], *value)]).collect();
        let (Some(first), Some(last)) = (edges.first(), edges.last()) else { return };
        if top.is_empty() {
            return;
        }
        let (path, floor) = (self.path(&top), HEIGHT - BOTTOM);
        let (from, to) = (self.x_at(*first), self.x_at(*last));
        self.push(format_args!(
            "<path class=\"area {class}\" d=\"M{from:.1},{floor:.1}L{path}L{to:.1},{floor:.1}Z\"/>"
        ));
        self.push(format_args!("<path class=\"line {class}\" d=\"M{path}\"/>"));
    }

    /// A line across the whole width.
    pub(crate) fn level(&mut self, class: &str, value: f64) {
        let at = self.y_at(value);
        self.line(class, LEFT, at, WIDTH - RIGHT, at);
    }

    /// A point with its value beside it.
    pub(crate) fn mark(&mut self, class: &str, point: Point, label: &str) {
        self.dot(class, point);
        let (x, y) = (self.x_at(point.0), self.y_at(point.1));
        // Above and to the left is free, for a curve of percentiles rises to the right; but at the edges it is not.
        let offset = if y < TOP + 14.0 { 18.0 } else { -9.0 };
        if x < LEFT + 60.0 {
            self.text("mark middle", x, y + offset, label);
        } else {
            self.text("mark end", x - 2.0, y + offset, label);
        }
    }

    /// A column that lights up under the pointer and says `text`.
    pub(crate) fn hover(&mut self, from: f64, to: f64, text: &str) {
        let (x, end) = (self.x_at(from), self.x_at(to));
        let (width, height) = ((end - x).max(0.5), HEIGHT - BOTTOM - TOP);
        self.push(format_args!(
            "<rect class=\"hover\" x=\"{x:.1}\" y=\"{TOP:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{}</title></rect>",
            Escaped(text)
        ));
    }

    /// The SVG element; `name` is for those who cannot see it.
    pub(crate) fn finish(self, name: &str) -> String {
        format!(
            "<svg viewBox=\"0 0 {WIDTH:.0} {HEIGHT:.0}\" role=\"img\" aria-label=\"{}\">\n{}</svg>\n",
            Escaped(name),
            self.body
        )
    }

    fn x_at(&self, value: f64) -> f64 {
        LEFT + self.x.position(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y_at(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.position(value) * (HEIGHT - BOTTOM - TOP)
    }

    fn path(&self, points: &[Point]) -> String {
        let places = points.iter().map(|(x, y)| format!("{:.1},{:.1}", self.x_at(*x), self.y_at(*y)));
        places.collect::<Vec<_>>().join("L")
    }

    fn dot(&mut self, class: &str, (x, y): Point) {
        let (x, y) = (self.x_at(x), self.y_at(y));
        self.push(format_args!("<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"/>"));
    }

    fn line(&mut self, class: &str, x1: f64, y1: f64, x2: f64, y2: f64) {
        self.push(format_args!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        ));
    }

    fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        self.push(format_args!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", Escaped(text)));
    }

    fn push(&mut self, element: fmt::Arguments<'_>) {
        writeln!(self.body, "{element}").expect("a string takes everything");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::axis::End;

    fn chart() -> Chart {
        let axis = || Axis::linear(10.0, 5, End::Tick);
        Chart::new(axis(), axis(), "time", |tick| format!("{tick} s"), |tick| format!("<{tick}>"))
    }

    #[test]
    fn every_tick_has_a_label_and_labels_are_escaped() {
        let svg = chart().finish("a \"chart\"");
        assert!(svg.contains(">6 s</text>") && svg.contains(">&lt;6&gt;</text>"));
        assert!(svg.contains("aria-label=\"a &quot;chart&quot;\""));
        assert_eq!(svg.matches("class=\"grid\"").count(), 6);
        assert_eq!(svg.matches("<text").count(), 6 + 6 + 1);
    }

    #[test]
    fn a_curve_breaks_where_there_is_nothing() {
        let mut chart = chart();
        let from = chart.body.len();
        chart.curve("p50", &[Some((0.0, 0.0)), Some((10.0, 10.0)), None, Some((5.0, 5.0)), None]);
        let drawn: Vec<&str> = chart.body[from..].lines().collect();
        assert_eq!(
            drawn,
            [
                "<path class=\"line p50\" d=\"M72.0,254.0L896.0,14.0\"/>",
                "<circle class=\"dot p50\" cx=\"484.0\" cy=\"134.0\" r=\"3.5\"/>"
            ]
        );
    }

    #[test]
    fn steps_are_closed_at_the_axis() {
        let mut chart = chart();
        let from = chart.body.len();
        chart.steps("ok", &[0.0, 5.0], &[10.0]);
        chart.steps("ok", &[0.0], &[]);
        let drawn: Vec<&str> = chart.body[from..].lines().collect();
        assert_eq!(
            drawn,
            [
                "<path class=\"area ok\" d=\"M72.0,254.0L72.0,14.0L484.0,14.0L484.0,254.0Z\"/>",
                "<path class=\"line ok\" d=\"M72.0,14.0L484.0,14.0\"/>"
            ]
        );
    }

    #[test]
    fn what_is_outside_the_axes_stays_on_their_edge() {
        let mut chart = chart();
        let from = chart.body.len();
        chart.curve("max", &[Some((-5.0, 1e12))]);
        assert!(chart.body[from..].contains("cx=\"72.0\" cy=\"14.0\""));
    }
}
