//! A picture of a run: latency by percentile, and throughput over time.

use std::path::Path;

use plotters::prelude::*;

use crate::plan::Plan;
use crate::report::as_millis;
use crate::results::{Interval, Results};

const SIZE: (u32, u32) = (1200, 480);
/// Points of a latency curve.
const POINTS: u32 = 200;
/// The curve ends with the last of these.
const NINES: [&str; 7] = ["all", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %"];
const NINES_MAX: f64 = 6.0;
/// Of the course; in a longer run each stands for several intervals.
const COLUMNS_MAX: usize = 300;

type Failure = Box<dyn std::error::Error>;

/// Draws the run into `path`, as SVG.
pub(crate) fn draw(
    path: &Path,
    plan: &Plan,
    results: &Results,
    intervals: &[Interval],
) -> Result<(), Failure> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let load = match plan.args.rate {
        None => "closed loop".to_owned(),
        Some(rate) => format!("{rate} a second"),
    };
    let title = format!(
        "{}: {} connections, pipeline {}, {load}",
        plan.name, plan.args.connections, plan.args.pipeline
    );
    let root = root.titled(&title, ("sans-serif", 20))?;
    let (left, right) = root.split_horizontally(SIZE.0 / 2);
    latencies(&left, plan, results)?;
    course(&right, intervals)?;
    root.present()?;
    Ok(())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// The x axis counts nines: 1 is p90, 2 is p99.
fn latencies(area: &Area<'_>, plan: &Plan, results: &Results) -> Result<(), Failure> {
    let all = results.total();
    let shortest = as_millis(all.min()).max(0.001);
    let longest = as_millis(all.max()).max(shortest);
    let mut chart = ChartBuilder::on(area)
        .caption("latency in ms, by percentile", ("sans-serif", 15))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..NINES_MAX, (shortest / 1.2..longest * 1.2).log_scale())?;
    chart
        .configure_mesh()
        .x_label_formatter(&|nines| {
            let at = (0..).zip(NINES).find(|(at, _)| (nines - f64::from(*at)).abs() < 0.5);
            at.map_or_else(String::new, |(_, label)| label.to_owned())
        })
        .x_labels(7)
        .draw()?;
    for (at, (kind, count)) in plan.mix.kinds().zip(&results.kinds).enumerate() {
        let style = Palette99::pick(at).stroke_width(2);
        let points = (0..=POINTS).map(|step| {
            let nines = NINES_MAX * f64::from(step) / f64::from(POINTS);
            let quantile = 1.0 - 10_f64.powf(-nines);
            (nines, as_millis(count.latency.value_at_quantile(quantile)).max(0.001))
        });
        chart
            .draw_series(LineSeries::new(points, style))?
            .label(kind.name())
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 20, y)], style));
    }
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
    Ok(())
}

/// Operations a second of some intervals that follow each other.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Column {
    until_sec: f64,
    least: f64,
    mean: f64,
    most: f64,
}

impl Column {
    #[expect(clippy::cast_precision_loss, reason = "intervals of one column")]
    fn of(intervals: &[Interval]) -> Self {
        let rates = || intervals.iter().map(Interval::rate);
        Self {
            until_sec: intervals.last().map_or(0.0, |last| last.until.as_secs_f64()),
            least: rates().fold(f64::MAX, f64::min),
            mean: rates().sum::<f64>() / intervals.len() as f64,
            most: rates().fold(0.0, f64::max),
        }
    }
}

fn columns(intervals: &[Interval]) -> Vec<Column> {
    let each = intervals.len().div_ceil(COLUMNS_MAX).max(1);
    intervals.chunks(each).map(Column::of).collect()
}

/// The mean as a line, in front of the range from the least to the most.
fn course(area: &Area<'_>, intervals: &[Interval]) -> Result<(), Failure> {
    let columns = columns(intervals);
    let end = columns.last().map_or(1.0, |column| column.until_sec);
    let highest = columns.iter().map(|column| column.most).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption("operations a second, over time", ("sans-serif", 15))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(80)
        .build_cartesian_2d(0.0..end, 0.0..highest * 1.1)?;
    chart
        .configure_mesh()
        .x_desc("seconds")
        .y_label_formatter(&|rate| format!("{rate:.0}"))
        .draw()?;
    let most = columns.iter().map(|column| (column.until_sec, column.most));
    let least = columns.iter().rev().map(|column| (column.until_sec, column.least));
    let range = Polygon::new(most.chain(least).collect::<Vec<_>>(), BLUE.mix(0.2));
    chart.draw_series([range])?;
    let mean = columns.iter().map(|column| (column.until_sec, column.mean));
    chart.draw_series(LineSeries::new(mean, BLUE.stroke_width(2)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::results::histogram;

    fn interval(until_sec: u64, operations: u64) -> Interval {
        let mut latency = histogram();
        latency.record_n(1_000, operations).unwrap();
        Interval { until: Duration::from_secs(until_sec), length: Duration::from_secs(1), latency }
    }

    #[test]
    fn a_long_course_has_few_columns_that_show_its_dips() {
        let rate = |at: u64| if at == 700 { 1 } else { 100 };
        let all: Vec<_> = (1..=900).map(|at| interval(at, rate(at))).collect();
        let columns = columns(&all);
        assert_eq!(columns.len(), COLUMNS_MAX);
        assert_eq!(columns[0], Column { until_sec: 3.0, least: 100.0, mean: 100.0, most: 100.0 });
        assert_eq!(columns[233], Column { until_sec: 702.0, least: 1.0, mean: 67.0, most: 100.0 });
        assert_eq!(super::columns(&all[..2]).len(), 2);
        assert_eq!(super::columns(&[]), []);
    }
}
