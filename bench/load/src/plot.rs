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

fn course(area: &Area<'_>, intervals: &[Interval]) -> Result<(), Failure> {
    let points: Vec<(f64, f64)> =
        intervals.iter().map(|it| (it.until.as_secs_f64(), it.rate())).collect();
    let end = points.last().map_or(1.0, |(until, _)| *until);
    let highest = points.iter().map(|(_, rate)| *rate).fold(1.0, f64::max);
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
    chart.draw_series(LineSeries::new(points, BLUE.stroke_width(2)))?;
    Ok(())
}
