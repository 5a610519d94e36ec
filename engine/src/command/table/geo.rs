//! Rows of the geo commands.

use crate::command::spec::Arity::AtLeast;
use crate::command::spec::{Categories, CommandSpec, Flags, Group, Handler, KeySpec};
use crate::command::zset::geo;

const SOURCE: KeySpec = KeySpec::new(1, 0, 1, &["RO", "access"]);

pub(super) const ROWS: &[CommandSpec] = &[
    CommandSpec::new("geoadd", AtLeast(5), Group::Geo, "3.2.0", Handler::Fast(geo::geoadd))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::GEO])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "update"])])
        .docs("O(log(N)) for each item added, where N is the number of elements in the sorted set.", "Adds one or more members to a geospatial index. The key is created if it doesn't exist."),
    CommandSpec::new("geodist", AtLeast(4), Group::Geo, "3.2.0", Handler::Fast(geo::geodist))
        .flags(&[Flags::READONLY], &[Categories::GEO])
        .keys(&[SOURCE])
        .docs("O(1)", "Returns the distance between two members of a geospatial index."),
    CommandSpec::new("geohash", AtLeast(2), Group::Geo, "3.2.0", Handler::Fast(geo::geohash))
        .flags(&[Flags::READONLY], &[Categories::GEO])
        .keys(&[SOURCE])
        .docs("O(1) for each member requested.", "Returns members from a geospatial index as geohash strings."),
    CommandSpec::new("geopos", AtLeast(2), Group::Geo, "3.2.0", Handler::Fast(geo::geopos))
        .flags(&[Flags::READONLY], &[Categories::GEO])
        .keys(&[SOURCE])
        .docs("O(1) for each member requested.", "Returns the longitude and latitude of members from a geospatial index."),
    CommandSpec::new("georadius", AtLeast(6), Group::Geo, "3.2.0", Handler::Fast(geo::search::georadius))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::GEO])
        .keys(&[SOURCE, KeySpec::option("STORE", 6, &["OW", "update"]), KeySpec::option("STOREDIST", 6, &["OW", "update"])])
        .docs("O(N+log(M)) where N is the number of elements inside the bounding box of the circular area delimited by center and radius and M is the number of items inside the index.", "Queries a geospatial index for members within a distance from a coordinate, optionally stores the result.")
        .deprecated("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument"),
    CommandSpec::new("georadius_ro", AtLeast(6), Group::Geo, "3.2.10", Handler::Fast(geo::search::georadius_ro))
        .flags(&[Flags::READONLY], &[Categories::GEO])
        .keys(&[SOURCE])
        .docs("O(N+log(M)) where N is the number of elements inside the bounding box of the circular area delimited by center and radius and M is the number of items inside the index.", "Returns members from a geospatial index that are within a distance from a coordinate.")
        .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` argument"),
    CommandSpec::new("georadiusbymember", AtLeast(5), Group::Geo, "3.2.0", Handler::Fast(geo::search::georadiusbymember))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::GEO])
        .keys(&[SOURCE, KeySpec::option("STORE", 5, &["OW", "update"]), KeySpec::option("STOREDIST", 5, &["OW", "update"])])
        .docs("O(N+log(M)) where N is the number of elements inside the bounding box of the circular area delimited by center and radius and M is the number of items inside the index.", "Queries a geospatial index for members within a distance from a member, optionally stores the result.")
        .deprecated("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments"),
    CommandSpec::new("georadiusbymember_ro", AtLeast(5), Group::Geo, "3.2.10", Handler::Fast(geo::search::georadiusbymember_ro))
        .flags(&[Flags::READONLY], &[Categories::GEO])
        .keys(&[SOURCE])
        .docs("O(N+log(M)) where N is the number of elements inside the bounding box of the circular area delimited by center and radius and M is the number of items inside the index.", "Returns members from a geospatial index that are within a distance from a member.")
        .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments"),
    CommandSpec::new("geosearch", AtLeast(7), Group::Geo, "6.2.0", Handler::Fast(geo::search::geosearch))
        .flags(&[Flags::READONLY], &[Categories::GEO])
        .keys(&[SOURCE])
        .docs("O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area around the shape provided as the filter and M is the number of items inside the shape", "Queries a geospatial index for members inside an area of a box or a circle."),
    CommandSpec::new("geosearchstore", AtLeast(8), Group::Geo, "6.2.0", Handler::Fast(geo::search::geosearchstore))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::GEO])
        .keys(&[KeySpec::new(1, 0, 1, &["OW", "update"]), KeySpec::new(2, 0, 1, &["RO", "access"])])
        .docs("O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area around the shape provided as the filter and M is the number of items inside the shape", "Queries a geospatial index for members inside an area of a box or a circle, optionally stores the result."),
];
