//! Places as Redis encodes them: a cell of a grid, the bits of its column and row interleaved.
//!
//! The formulas, and the order of their operations, are those of Redis's `geohash.c` and
//! `geohash_helper.c`, so that results are the same to the last bit. Degrees and metres.

use std::f64::consts::PI;

/// The finest grid has two to this power rows and as many columns.
const STEP_MAX: u8 = 26;
/// Mean radius of the earth, in metres.
const EARTH_RADIUS: f64 = 6_372_797.560_856;
/// Half of the equator in the projection that the grid divides, in metres.
const MERCATOR_MAX: f64 = 20_037_726.37;
const LONGITUDE_MAX: f64 = 180.0;
/// The projection does not reach the poles.
const LATITUDE_MAX: f64 = 85.051_128_78;
/// Bits of columns are the odd ones.
const COLUMNS: u64 = 0xaaaa_aaaa_aaaa_aaaa;
const ROWS: u64 = 0x5555_5555_5555_5555;

/// A point, in degrees.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Point {
    pub(super) longitude: f64,
    pub(super) latitude: f64,
}

/// A cell of the grid of 2^step columns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cell {
    bits: u64,
    step: u8,
}

/// What a cell covers, or what a shape does.
#[derive(Clone, Copy, Debug)]
struct Area {
    min: Point,
    max: Point,
}

fn radians(degrees: f64) -> f64 {
    degrees * (PI / 180.0)
}

fn degrees(radians: f64) -> f64 {
    radians / (PI / 180.0)
}

fn columns(step: u8) -> f64 {
    f64::from(1_u32 << step)
}

impl Point {
    /// A point that the grid covers.
    pub(super) fn new(longitude: f64, latitude: f64) -> Option<Self> {
        let is_inside = (-LONGITUDE_MAX..=LONGITUDE_MAX).contains(&longitude)
            && (-LATITUDE_MAX..=LATITUDE_MAX).contains(&latitude);
        is_inside.then_some(Self { longitude, latitude })
    }

    /// The centre of the cell that a score stands for; any number stands for some point.
    pub(super) fn from_score(score: f64) -> Self {
        let Area { min, max } = Cell { bits: bits(score), step: STEP_MAX }.area();
        let longitude = f64::midpoint(min.longitude, max.longitude);
        let latitude = f64::midpoint(min.latitude, max.latitude);
        Self {
            longitude: longitude.clamp(-LONGITUDE_MAX, LONGITUDE_MAX),
            latitude: latitude.clamp(-LATITUDE_MAX, LATITUDE_MAX),
        }
    }

    /// The score of its cell in the finest grid.
    pub(super) fn score(self) -> f64 {
        number(Cell::of(self, STEP_MAX, LATITUDE_MAX).bits)
    }

    /// The geohash of the whole world, poles included, as others write it; the eleventh digit has no
    /// bits and is 0.
    pub(super) fn geohash(self) -> [u8; 11] {
        const DIGITS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let Cell { bits, .. } = Cell::of(self, STEP_MAX, 90.0);
        let mut text = [b'0'; 11];
        for (digit, shift) in text.iter_mut().zip((2..52).step_by(5).rev()) {
            let value = usize::try_from(bits >> shift & 0x1f).unwrap_or(0);
            *digit = DIGITS.get(value).copied().unwrap_or(b'0');
        }
        text
    }

    /// Metres along a great circle, by the haversine formula.
    pub(super) fn distance(self, other: Self) -> f64 {
        let v = ((radians(other.longitude) - radians(self.longitude)) / 2.0).sin();
        if v == 0.0 {
            return self.latitude_distance(other);
        }
        let (from, to) = (radians(self.latitude), radians(other.latitude));
        let u = ((to - from) / 2.0).sin();
        let a = u * u + from.cos() * to.cos() * v * v;
        2.0 * EARTH_RADIUS * a.sqrt().asin()
    }

    /// Metres from one parallel to the other.
    fn latitude_distance(self, other: Self) -> f64 {
        EARTH_RADIUS * (radians(other.latitude) - radians(self.latitude)).abs()
    }
}

/// A score as 64 bits, as x86 converts it if it is no geohash.
fn bits(score: f64) -> u64 {
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    #[expect(clippy::cast_possible_truncation, reason = "that is what is asked for")]
    #[expect(clippy::cast_sign_loss, reason = "it has none there")]
    if score < HALF {
        (score as i64).cast_unsigned()
    } else if score < 2.0 * HALF {
        score as u64
    } else {
        0
    }
}

/// The bits of a cell as a score.
fn number(bits: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "at most 54 bits, of which the last are 0")]
    let score = bits as f64;
    score
}

/// Spreads 32 bits over the even ones of 64.
fn spread(value: u32) -> u64 {
    let mut bits = u64::from(value);
    bits = (bits | bits << 16) & 0x0000_ffff_0000_ffff;
    bits = (bits | bits << 8) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits << 2) & 0x3333_3333_3333_3333;
    (bits | bits << 1) & ROWS
}

/// The even ones of 64 bits.
fn gather(bits: u64) -> u32 {
    let mut bits = bits & ROWS;
    bits = (bits | bits >> 1) & 0x3333_3333_3333_3333;
    bits = (bits | bits >> 2) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits >> 4) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits >> 8) & 0x0000_ffff_0000_ffff;
    u32::try_from((bits | bits >> 16) & 0xffff_ffff).unwrap_or(0)
}

impl Cell {
    /// The cell around a point. A grid goes as far north and south as `latitude_max`.
    fn of(point: Point, step: u8, latitude_max: f64) -> Self {
        let row = (point.latitude + latitude_max) / (latitude_max - -latitude_max);
        let column = (point.longitude + LONGITUDE_MAX) / (LONGITUDE_MAX - -LONGITUDE_MAX);
        // 2^step at most: what lies on the very edge is beyond the last cell, as in Redis.
        #[expect(clippy::cast_possible_truncation, reason = "at most 2^26")]
        #[expect(clippy::cast_sign_loss, reason = "a point is not left of or below the grid")]
        let whole = |offset: f64| (offset * columns(step)) as u32;
        Self { bits: spread(whole(row)) | spread(whole(column)) << 1, step }
    }

    fn area(self) -> Area {
        let (row, column) = (gather(self.bits), gather(self.bits >> 1));
        let corner = |row: u32, column: u32| {
            let part = |number: u32| f64::from(number) / columns(self.step);
            Point {
                longitude: -LONGITUDE_MAX + part(column) * (LONGITUDE_MAX - -LONGITUDE_MAX),
                latitude: -LATITUDE_MAX + part(row) * (LATITUDE_MAX - -LATITUDE_MAX),
            }
        };
        Area { min: corner(row, column), max: corner(row.wrapping_add(1), column.wrapping_add(1)) }
    }

    /// So many columns east and rows north of it, -1, 0 or 1; behind the edge is the other edge.
    fn moved(self, east: i8, north: i8) -> Self {
        let unused = 64 - u32::from(self.step) * 2;
        let moved = |bits: u64, own: u64, by: i8| {
            let others = !own >> unused;
            let bits = match by {
                0 => return bits & own,
                1.. => (bits & own).wrapping_add(others.wrapping_add(1)),
                _ => (bits & own | others).wrapping_sub(others.wrapping_add(1)),
            };
            bits & own >> unused
        };
        Self { bits: moved(self.bits, COLUMNS, east) | moved(self.bits, ROWS, north), ..self }
    }

    /// The scores within it: from the first to before the second.
    pub(super) fn scores(self) -> (f64, f64) {
        let shift = 52 - u32::from(self.step) * 2;
        (number(self.bits << shift), number((self.bits + 1) << shift))
    }
}

/// What is searched for members, in metres.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Circle { radius: f64 },
    Box { width: f64, height: f64 },
}

/// A form around a point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) center: Point,
    pub(super) form: Form,
    /// Metres in the unit of the client.
    pub(super) unit: f64,
}

impl Shape {
    /// How far a point is from the centre, in metres, if it is inside.
    pub(super) fn distance(&self, point: Point) -> Option<f64> {
        match self.form {
            Form::Circle { radius } => {
                let distance = self.center.distance(point);
                let is_outside = distance > radius * self.unit;
                (!is_outside).then_some(distance)
            }
            Form::Box { width, height } => {
                if point.latitude_distance(self.center) > height * self.unit / 2.0 {
                    return None;
                }
                let beside = Point { latitude: point.latitude, ..self.center };
                if point.distance(beside) > width * self.unit / 2.0 {
                    return None;
                }
                Some(self.center.distance(point))
            }
        }
    }

    fn bounds(&self) -> Area {
        let Point { longitude, latitude } = self.center;
        let (width, height) = match self.form {
            Form::Circle { radius } => (radius, radius),
            Form::Box { width, height } => (width / 2.0, height / 2.0),
        };
        let (width, height) = (self.unit * width, self.unit * height);
        let north = degrees(height / EARTH_RADIUS);
        // The parallel that is nearer to its pole is the shorter one; Redis takes the northern one
        // on the northern hemisphere.
        let parallel = if latitude < 0.0 { latitude - north } else { latitude + north };
        let east = degrees(width / EARTH_RADIUS / radians(parallel).cos());
        Area {
            min: Point { longitude: longitude - east, latitude: latitude - north },
            max: Point { longitude: longitude + east, latitude: latitude + north },
        }
    }

    /// Cells that together contain the shape, in the order in which Redis reads them: the centre's
    /// and those around it, apart from those that the shape does not touch.
    pub(super) fn cells(&self) -> Vec<Cell> {
        let bounds = self.bounds();
        let mut step = self.step();
        let cell = |step| Cell::of(self.center, step, LATITUDE_MAX);
        if step > 1 && is_cramped(cell(step), bounds) {
            step -= 1;
        }
        let center = cell(step);
        let Area { min, max } = center.area();
        let is_close = step >= 2;
        let is_needless = |east: i8, north: i8| {
            is_close
                && (north < 0 && min.latitude < bounds.min.latitude
                    || north > 0 && max.latitude > bounds.max.latitude
                    || east < 0 && min.longitude < bounds.min.longitude
                    || east > 0 && max.longitude > bounds.max.longitude)
        };
        let around = [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        let mut cells = vec![center];
        for (east, north) in around {
            if is_needless(east, north) {
                continue;
            }
            let next = center.moved(east, north);
            // In the coarsest grid, opposite neighbours are the same.
            if cells.len() == 1 || cells.last() != Some(&next) {
                cells.push(next);
            }
        }
        cells
    }

    /// How fine a grid is whose cells are about as large as the shape.
    fn step(&self) -> u8 {
        let radius = match self.form {
            Form::Circle { radius } => radius,
            Form::Box { width, height } => {
                let (width, height) = (width / 2.0, height / 2.0);
                // Not `hypot`, which rounds otherwise.
                (width * width + height * height).sqrt()
            }
        };
        let mut range = radius * self.unit;
        if range == 0.0 {
            return STEP_MAX;
        }
        let mut step = 1_i32;
        while range < MERCATOR_MAX {
            range *= 2.0;
            step += 1;
        }
        step -= 2;
        let latitude = self.center.latitude.abs();
        if latitude > 66.0 {
            step -= 1;
        }
        if latitude > 80.0 {
            step -= 1;
        }
        u8::try_from(step.clamp(1, i32::from(STEP_MAX))).unwrap_or(STEP_MAX)
    }
}

/// Whether the shape is larger than the cell and its neighbours.
fn is_cramped(cell: Cell, bounds: Area) -> bool {
    let area = |east, north| cell.moved(east, north).area();
    area(0, 1).max.latitude < bounds.max.latitude
        || area(0, -1).min.latitude > bounds.min.latitude
        || area(1, 0).max.longitude < bounds.max.longitude
        || area(-1, 0).min.longitude > bounds.min.longitude
}
