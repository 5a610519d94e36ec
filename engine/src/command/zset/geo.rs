//! Places in sorted sets. Pages: <https://redis.io/docs/latest/commands/?group=geo>.
//!
//! The score of a member is its place, as [`grid`] encodes it; nothing else is stored.

use coney_resp::{Args, Protocol, Reply};

use super::number::double;
use super::{AddOptions, add_scored, scores_with};
use crate::command::option::is;
use crate::command::{CommandError, Context, Done};

mod grid;
pub(in super::super) mod search;

use grid::Point;

/// A number that has to be one, or else this error.
fn numeric(arg: &[u8], error: &'static str) -> Result<f64, CommandError> {
    double(arg).ok_or(CommandError::Text(error))
}

/// A longitude and a latitude.
fn point(longitude: &[u8], latitude: &[u8]) -> Result<Point, CommandError> {
    let longitude = double(longitude).ok_or(CommandError::NotFloat)?;
    let latitude = double(latitude).ok_or(CommandError::NotFloat)?;
    Point::new(longitude, latitude).ok_or_else(|| {
        let pair = format!("{longitude:.6},{latitude:.6}");
        CommandError::Owned(format!("ERR invalid longitude,latitude pair {pair}"))
    })
}

/// Metres in a unit.
fn unit(name: &[u8]) -> Result<f64, CommandError> {
    const UNITS: [(&str, f64); 4] = [("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)];
    UNITS
        .iter()
        .find(|(known, _)| is(name, known))
        .map(|(_, metres)| *metres)
        .ok_or(CommandError::Text("ERR unsupported unit provided. please use M, KM, FT, MI"))
}

/// Replies with a distance: four decimals.
fn tell_distance(distance: f64, reply: &mut Reply<'_>) {
    #[expect(clippy::cast_possible_truncation, reason = "no distance on earth is so long")]
    #[expect(clippy::cast_sign_loss, reason = "distances have none")]
    let parts = (distance * 10_000.0).round_ties_even() as u64;
    reply.bulk(format!("{}.{:04}", parts / 10_000, parts % 10_000).as_bytes());
}

/// Replies with a point: seventeen decimals at most.
fn tell_point(point: Point, reply: &mut Reply<'_>) {
    reply.array(2);
    for degrees in [point.longitude, point.latitude] {
        let text = format!("{degrees:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        let text = if text == "-0" { "0" } else { text };
        match reply.protocol() {
            Protocol::Resp2 => reply.bulk(text.as_bytes()),
            Protocol::Resp3 => reply.raw(format!(",{text}\r\n").as_bytes()),
        }
    }
}

pub(in super::super) fn geoadd(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let mut options = AddOptions::default();
    let mut first = 2;
    while let Some(option) = args.get(first) {
        let flag = if is(option, "NX") {
            &mut options.only_new
        } else if is(option, "XX") {
            &mut options.only_present
        } else if is(option, "CH") {
            &mut options.counts_changes
        } else {
            break;
        };
        *flag = true;
        first += 1;
    }
    let places = args.skip(first);
    let is_contradiction = options.only_new && options.only_present;
    if !places.len().is_multiple_of(3) || places.is_empty() || is_contradiction {
        return Err(CommandError::Syntax.into());
    }
    let scores = (0..places.len())
        .step_by(3)
        .map(|at| Ok(point(&places[at], &places[at + 1])?.score()))
        .collect::<Result<Vec<f64>, CommandError>>()?;
    let members = || places.iter().skip(2).step_by(3);
    add_scored(ctx, &args[1], members, scores, reply, options)
}

pub(in super::super) fn geopos(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let members = args.skip(2);
    reply.array(members.len());
    scores_with(ctx, &args[1], members.iter(), &mut |score| match score {
        Some(score) => tell_point(Point::from_score(score), reply),
        None => reply.null_array(),
    })
}

pub(in super::super) fn geohash(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let members = args.skip(2);
    reply.array(members.len());
    scores_with(ctx, &args[1], members.iter(), &mut |score| match score {
        Some(score) => reply.bulk(&Point::from_score(score).geohash()),
        None => reply.null(),
    })
}

pub(in super::super) fn geodist(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    if args.len() > 5 {
        return Err(CommandError::Syntax.into());
    }
    let unit = args.get(4).map_or(Ok(1.0), unit)?;
    let mut points = Vec::with_capacity(2);
    scores_with(ctx, &args[1], args.iter().skip(2).take(2), &mut |score| {
        points.extend(score.map(Point::from_score));
    })?;
    match points[..] {
        [from, to] => tell_distance(from.distance(to) / unit, reply),
        _ => reply.null(),
    }
    Ok(())
}
