//! GEOSEARCH, GEORADIUS and their kin: the members inside a circle or a box.

use coney_resp::{Args, Reply};

use super::grid::{Form, Point, Shape};
use super::{numeric, point, tell_distance, tell_point, unit};
use crate::command::option::{int, is};
use crate::command::zset::edit::replace;
use crate::command::zset::score_in;
use crate::command::zset::sorted::{Range, Scored, Sorted};
use crate::command::{CommandError, Context, Done, Stop};
use crate::score;

/// Which of the commands it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Command {
    /// GEORADIUS, GEORADIUS_RO: circle and centre are not options.
    Radius,
    /// The same around a member.
    RadiusByMember,
    Search,
    SearchStore,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    Ascending,
    Descending,
}

/// What a command says, and what its centre is.
#[derive(Debug, Default)]
struct Query<'a> {
    /// `None` for a member of a sorted set that does not exist.
    center: Option<Point>,
    has_center: bool,
    is_from_member: bool,
    form: Option<(Form, f64)>,
    has_coordinates: bool,
    has_distance: bool,
    has_hash: bool,
    /// 0: all of them.
    count: usize,
    /// Whichever come first.
    is_any: bool,
    order: Option<Order>,
    store: Option<&'a [u8]>,
    /// Distances become scores.
    stores_distances: bool,
}

/// A member that was found.
#[derive(Debug)]
struct Found {
    scored: Scored,
    point: Point,
    /// In metres.
    distance: f64,
}

/// Where a member is.
fn place(ctx: &mut Context<'_>, sorted: &Sorted, member: &[u8]) -> Result<Point, Stop> {
    let score = match sorted {
        Sorted::Small(all) => all.iter().find(|one| one.member == member).map(|one| one.score),
        Sorted::Large(large) => score_in(ctx, large, member)?,
    };
    let unknown = CommandError::Text("ERR could not decode requested zset member");
    Ok(Point::from_score(score.ok_or(unknown)?))
}

fn circle(radius: &[u8], name: &[u8]) -> Result<(Form, f64), CommandError> {
    let radius = numeric(radius, "ERR need numeric radius")?;
    if radius < 0.0 {
        return Err(CommandError::Text("ERR radius cannot be negative"));
    }
    Ok((Form::Circle { radius }, unit(name)?))
}

fn rectangle(width: &[u8], height: &[u8], name: &[u8]) -> Result<(Form, f64), CommandError> {
    let width = numeric(width, "ERR need numeric width")?;
    let height = numeric(height, "ERR need numeric height")?;
    if width < 0.0 || height < 0.0 {
        return Err(CommandError::Text("ERR height or width cannot be negative"));
    }
    Ok((Form::Box { width, height }, unit(name)?))
}

impl<'a> Query<'a> {
    /// Reads all arguments, in the order in which Redis finds what is wrong with them.
    fn parse(
        ctx: &mut Context<'_>,
        args: Args<'a>,
        command: Command,
        may_store: bool,
        sorted: &Sorted,
    ) -> Result<Self, Stop> {
        let mut query = Self::default();
        let is_absent = sorted.len() == 0;
        let first = match command {
            Command::Radius => {
                query.center = Some(point(&args[2], &args[3])?);
                query.form = Some(circle(&args[4], &args[5])?);
                6
            }
            Command::RadiusByMember => {
                if !is_absent {
                    query.center = Some(place(ctx, sorted, &args[2])?);
                    query.form = Some(circle(&args[3], &args[4])?);
                }
                5
            }
            Command::Search => 2,
            Command::SearchStore => {
                query.store = args.get(1);
                3
            }
        };
        let is_search = matches!(command, Command::Search | Command::SearchStore);
        let mut options = args.skip(first);
        while let Some(option) = options.get(0) {
            let taken = match query.plain(option, options.get(1), command, may_store)? {
                Some(taken) => taken,
                None if is_search => query.area(ctx, options, sorted)?,
                None => return Err(CommandError::Syntax.into()),
            };
            options = options.skip(taken);
        }
        query.check(args, command)?;
        Ok(query)
    }

    /// An option that says nothing of the place; the number of arguments that it takes.
    fn plain(
        &mut self,
        option: &[u8],
        value: Option<&'a [u8]>,
        command: Command,
        may_store: bool,
    ) -> Result<Option<usize>, CommandError> {
        let flag = if is(option, "WITHDIST") {
            &mut self.has_distance
        } else if is(option, "WITHHASH") {
            &mut self.has_hash
        } else if is(option, "WITHCOORD") {
            &mut self.has_coordinates
        } else if is(option, "ANY") {
            &mut self.is_any
        } else if command == Command::SearchStore && is(option, "STOREDIST") {
            &mut self.stores_distances
        } else if is(option, "ASC") {
            self.order = Some(Order::Ascending);
            return Ok(Some(1));
        } else if is(option, "DESC") {
            self.order = Some(Order::Descending);
            return Ok(Some(1));
        } else {
            let Some(value) = value else { return Ok(None) };
            if is(option, "COUNT") {
                let count = int(value)?;
                if count <= 0 {
                    return Err(CommandError::Text("ERR COUNT must be > 0"));
                }
                self.count = usize::try_from(count).unwrap_or(usize::MAX);
            } else if may_store && (is(option, "STORE") || is(option, "STOREDIST")) {
                self.store = Some(value);
                self.stores_distances = is(option, "STOREDIST");
            } else {
                return Ok(None);
            }
            return Ok(Some(2));
        };
        *flag = true;
        Ok(Some(1))
    }

    /// FROMMEMBER, FROMLONLAT, BYRADIUS and BYBOX; the number of arguments that they take.
    fn area(
        &mut self,
        ctx: &mut Context<'_>,
        options: Args<'a>,
        sorted: &Sorted,
    ) -> Result<usize, Stop> {
        let option = &options[0];
        let (first, second, third) = (options.get(1), options.get(2), options.get(3));
        let is_from_place = self.has_center && !self.is_from_member;
        let is_circle = matches!(self.form, Some((Form::Circle { .. }, _)));
        let is_box = matches!(self.form, Some((Form::Box { .. }, _)));
        match (first, second, third) {
            (Some(member), _, _) if is(option, "FROMMEMBER") && !is_from_place => {
                if sorted.len() > 0 {
                    self.center = Some(place(ctx, sorted, member)?);
                }
                (self.has_center, self.is_from_member) = (true, true);
                Ok(2)
            }
            (Some(longitude), Some(latitude), _)
                if is(option, "FROMLONLAT") && !self.is_from_member =>
            {
                self.center = Some(point(longitude, latitude)?);
                self.has_center = true;
                Ok(3)
            }
            (Some(radius), Some(unit), _) if is(option, "BYRADIUS") && !is_box => {
                self.form = Some(circle(radius, unit)?);
                Ok(3)
            }
            (Some(width), Some(height), Some(unit)) if is(option, "BYBOX") && !is_circle => {
                self.form = Some(rectangle(width, height, unit)?);
                Ok(4)
            }
            _ => Err(CommandError::Syntax.into()),
        }
    }

    fn check(&self, args: Args<'_>, command: Command) -> Result<(), CommandError> {
        let is_search = matches!(command, Command::Search | Command::SearchStore);
        if self.store.is_some() && (self.has_distance || self.has_hash || self.has_coordinates) {
            return Err(CommandError::Text(if is_search {
                "ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            } else {
                "ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and \
                 WITHCOORD options"
            }));
        }
        let missing = if is_search && !self.has_center {
            Some("exactly one of FROMMEMBER or FROMLONLAT")
        } else if is_search && self.form.is_none() {
            Some("exactly one of BYRADIUS and BYBOX")
        } else {
            None
        };
        if let Some(missing) = missing {
            // As the client wrote it.
            let name = String::from_utf8_lossy(&args[0]);
            return Err(CommandError::Owned(format!("ERR {missing} can be specified for {name}")));
        }
        if self.is_any && self.count == 0 {
            return Err(CommandError::Text("ERR the ANY argument requires COUNT argument"));
        }
        Ok(())
    }

    /// The members inside the shape, as many and in the order that is asked for.
    fn run(&self, ctx: &mut Context<'_>, sorted: &Sorted) -> Result<Vec<Found>, Stop> {
        let (Some(center), Some((form, unit))) = (self.center, self.form) else {
            return Ok(Vec::new());
        };
        let shape = Shape { center, form, unit };
        let most = if self.is_any { self.count } else { usize::MAX };
        let mut found = Vec::new();
        for cell in shape.cells() {
            if found.len() >= most {
                break;
            }
            let (min, max) = cell.scores();
            let range = Range::Score(score::rank(min), score::rank(max));
            sorted.walk(ctx, &range, false, &mut |score, member| {
                let point = Point::from_score(score);
                if let Some(distance) = shape.distance(point) {
                    let scored = Scored { score, member: member.to_vec() };
                    found.push(Found { scored, point, distance });
                }
                found.len() < most
            })?;
        }
        let is_counted = self.count > 0;
        let order = self.order.or_else(|| (is_counted && !self.is_any).then_some(Order::Ascending));
        match order {
            Some(Order::Ascending) => found.sort_by(|a, b| a.distance.total_cmp(&b.distance)),
            Some(Order::Descending) => found.sort_by(|a, b| b.distance.total_cmp(&a.distance)),
            None => {}
        }
        if is_counted {
            found.truncate(self.count);
        }
        Ok(found)
    }

    fn tell(&self, found: Vec<Found>, reply: &mut Reply<'_>) {
        let unit = self.form.map_or(1.0, |(_, unit)| unit);
        let details = [self.has_distance, self.has_hash, self.has_coordinates];
        let details_count = details.iter().filter(|is_wanted| **is_wanted).count();
        reply.array(found.len());
        for Found { scored, point, distance } in found {
            if details_count > 0 {
                reply.array(1 + details_count);
            }
            reply.bulk(&scored.member);
            if self.has_distance {
                tell_distance(distance / unit, reply);
            }
            if self.has_hash {
                #[expect(clippy::cast_possible_truncation, reason = "what was found has 54 bits")]
                reply.int(scored.score as i64);
            }
            if self.has_coordinates {
                tell_point(point, reply);
            }
        }
    }
}

fn search(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    command: Command,
    may_store: bool,
) -> Done {
    let source = &args[if command == Command::SearchStore { 2 } else { 1 }];
    let table = ctx.table();
    if command == Command::SearchStore {
        for key in [&args[1], source] {
            ctx.exec.look_at(table, key);
            ctx.exec.latch()?;
        }
    } else if may_store {
        // Which key is the target is known when the options are read, for which the source is
        // needed; whatever may be one is latched.
        let target = |at: &usize| is(&args[*at], "STORE") || is(&args[*at], "STOREDIST");
        let targets = (5..args.len()).filter(target).filter_map(|at| args.get(at + 1));
        for key in std::iter::once(source).chain(targets) {
            ctx.exec.look_at(table, key);
            ctx.exec.latch()?;
        }
    }
    let sorted = Sorted::read(ctx, source)?;
    let query = Query::parse(ctx, args, command, may_store, &sorted)?;
    let found = query.run(ctx, &sorted)?;
    let Some(target) = query.store else {
        query.tell(found, reply);
        return Ok(());
    };
    let unit = query.form.map_or(1.0, |(_, unit)| unit);
    let mut members: Vec<Scored> = found
        .into_iter()
        .map(|Found { scored, distance, .. }| {
            let score = if query.stores_distances { distance / unit } else { scored.score };
            Scored { score, ..scored }
        })
        .collect();
    members.sort_by(|a, b| a.order().cmp(&b.order()));
    let event = match command {
        Command::SearchStore => "geosearchstore",
        Command::Search | Command::Radius | Command::RadiusByMember => "georadiusstore",
    };
    replace(ctx, target, &members, Some(event))?;
    reply.count(members.len());
    Ok(())
}

pub(in super::super::super) fn geosearch(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    search(ctx, args, reply, Command::Search, false)
}

pub(in super::super::super) fn geosearchstore(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    search(ctx, args, reply, Command::SearchStore, false)
}

pub(in super::super::super) fn georadius(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    search(ctx, args, reply, Command::Radius, true)
}

pub(in super::super::super) fn georadius_ro(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    search(ctx, args, reply, Command::Radius, false)
}

pub(in super::super::super) fn georadiusbymember(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    search(ctx, args, reply, Command::RadiusByMember, true)
}

pub(in super::super::super) fn georadiusbymember_ro(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    search(ctx, args, reply, Command::RadiusByMember, false)
}
