//! GEOSEARCH against a look at every place.

use proptest::prelude::*;

use crate::peer::{EnginePeer, commit};

const EARTH_RADIUS: f64 = 6_372_797.560_856;

/// Longitude and latitude.
type Place = (f64, f64);

fn distance(one: Place, other: Place) -> f64 {
    let ((longitude, latitude), (other_longitude, other_latitude)) = (one, other);
    let sine = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
    let cosines = latitude.to_radians().cos() * other_latitude.to_radians().cos();
    let chord = sine(other_latitude - latitude) + cosines * sine(other_longitude - longitude);
    2.0 * EARTH_RADIUS * chord.min(1.0).sqrt().asin()
}

/// How far inside of an area a place is, in metres; outside it is negative.
fn depth(area: &Area, center: Place, place: Place) -> f64 {
    match *area {
        Area::Circle(radius) => radius - distance(center, place),
        Area::Box(width, height) => {
            // Along the place's own parallel, as Redis does it.
            let along = distance((center.0, place.1), place);
            let across = distance((place.0, center.1), place);
            (width / 2.0 - along).min(height / 2.0 - across)
        }
    }
}

#[derive(Debug, Clone)]
enum Area {
    Circle(f64),
    Box(f64, f64),
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        (-180.0..180.0, -85.0..85.0),
        // A town, the date line, and the corner of the grid.
        (13.0..13.5, 52.0..52.5),
        (prop_oneof![179.9..180.0, -180.0..-179.9], -0.1..0.1),
        (-180.0..-179.0, -85.05..-84.0),
    ]
}

fn area() -> impl Strategy<Value = Area> {
    let length =
        || prop_oneof![10.0..1000.0, 1000.0..100_000.0, 100_000.0..5_000_000.0, 5e6..2.1e7];
    prop_oneof![
        length().prop_map(Area::Circle),
        (length(), length()).prop_map(|(width, height)| Area::Box(width, height)),
    ]
}

fn lines(reply: &str) -> Vec<String> {
    let is_value = |line: &&str| !line.is_empty() && !line.starts_with(['*', '$']);
    reply.split("\r\n").filter(is_value).map(str::to_owned).collect()
}

/// Where the members are for the engine: it keeps 52 bits of each place.
fn stored(peer: &mut EnginePeer, count: usize) -> Vec<Place> {
    let names: Vec<String> = (0..count).map(|number| format!("p{number}")).collect();
    let degrees = lines(&peer.ask(&format!("GEOPOS g {}", names.join(" "))));
    let degrees: Vec<f64> = degrees.iter().map(|text| text.parse().unwrap()).collect();
    degrees.chunks(2).map(|pair| (pair[0], pair[1])).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    // What could break: a cell of the grid that is not looked into.
    #[test]
    fn a_search_finds_what_lies_in_the_area(
        places in proptest::collection::vec(place(), 1..400),
        searches in proptest::collection::vec((place(), area()), 1..20),
    ) {
        let mut peer = EnginePeer::new();
        let words: Vec<String> = places
            .iter()
            .enumerate()
            .map(|(number, (longitude, latitude))| format!("{longitude} {latitude} p{number}"))
            .collect();
        peer.ask(&format!("GEOADD g {}", words.join(" ")));
        commit(&mut peer.executor);
        let places = stored(&mut peer, places.len());
        for (center, area) in &searches {
            let shape = match area {
                Area::Circle(radius) => format!("BYRADIUS {radius} m"),
                Area::Box(width, height) => format!("BYBOX {width} {height} m"),
            };
            let (longitude, latitude) = center;
            let line = format!("GEOSEARCH g FROMLONLAT {longitude} {latitude} {shape}");
            let found = lines(&peer.ask(&line));
            for (number, place) in places.iter().enumerate() {
                let depth = depth(area, *center, *place);
                // What lies on the edge may be on either side of it.
                if depth.abs() > 0.01 {
                    let is_found = found.contains(&format!("p{number}"));
                    prop_assert_eq!(is_found, depth > 0.0, "{} {:?} {}", line, place, depth);
                }
            }
        }
    }
}
