//! Rows of the server commands.

use crate::command::spec::Arity::{AtLeast, Exactly};
use crate::command::spec::{Categories, CommandSpec, Flags, Group, Handler, KeySpec};
use crate::command::{acl, connection, introspect, keys, keyspace, node, tenant, tracking};

pub(super) const ROWS: &[CommandSpec] = &[
    CommandSpec::new("acl", AtLeast(2), Group::Server, "6.0.0", Handler::Container)
        .docs("Depends on subcommand.", "A container for Access List Control commands."),
    CommandSpec::new("acl|cat", AtLeast(2), Group::Server, "6.0.0", Handler::Fast(acl::cat))
        .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[])
        .docs("O(1) since the categories and commands are a fixed set.", "Lists the ACL categories, or the commands inside a category."),
    CommandSpec::new("acl|deluser", AtLeast(3), Group::Server, "6.0.0", Handler::Admin)
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[])
        .docs("O(1) amortized time considering the typical user.", "Deletes ACL users, and terminates their connections."),
    CommandSpec::new("acl|dryrun", AtLeast(4), Group::Server, "7.0.0", Handler::Slow(acl::dryrun))
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[])
        .docs("O(1).", "Simulates the execution of a command by a user, without executing the command."),
    CommandSpec::new("acl|genpass", AtLeast(2), Group::Server, "6.0.0", Handler::Admin)
        .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[])
        .docs("O(1)", "Generates a pseudorandom, secure password that can be used to identify ACL users."),
    CommandSpec::new("acl|getuser", Exactly(3), Group::Server, "6.0.0", Handler::Slow(acl::getuser))
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[])
        .docs("O(N). Where N is the number of password, command and pattern rules that the user has.", "Lists the ACL rules of a user."),
    CommandSpec::new("acl|help", Exactly(2), Group::Server, "6.0.0", Handler::Fast(introspect::help))
        .flags(&[Flags::LOADING, Flags::STALE], &[])
        .docs("O(1)", "Returns helpful text about the different subcommands."),
    CommandSpec::new("acl|list", Exactly(2), Group::Server, "6.0.0", Handler::Slow(acl::list))
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[])
        .docs("O(N). Where N is the number of configured users.", "Dumps the effective rules in ACL file format."),
    CommandSpec::new("acl|load", Exactly(2), Group::Server, "6.0.0", Handler::Admin)
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[])
        .docs("O(N). Where N is the number of configured users.", "Reloads the rules from the configured ACL file."),
    CommandSpec::new("acl|log", AtLeast(2), Group::Server, "6.0.0", Handler::Slow(acl::log))
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[])
        .docs("O(N) with N being the number of entries shown.", "Lists recent security events generated due to ACL rules."),
    CommandSpec::new("acl|save", Exactly(2), Group::Server, "6.0.0", Handler::Admin)
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[])
        .docs("O(N). Where N is the number of configured users.", "Saves the effective ACL rules in the configured ACL file."),
    CommandSpec::new("acl|setuser", AtLeast(3), Group::Server, "6.0.0", Handler::Slow(acl::setuser))
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[])
        .docs("O(N). Where N is the number of rules provided.", "Creates and modifies an ACL user and its rules."),
    CommandSpec::new("acl|users", Exactly(2), Group::Server, "6.0.0", Handler::Slow(acl::users))
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[])
        .docs("O(N). Where N is the number of configured users.", "Lists all ACL users."),
    CommandSpec::new("acl|whoami", Exactly(2), Group::Server, "6.0.0", Handler::Fast(acl::whoami))
        .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[])
        .docs("O(1)", "Returns the authenticated username of the current connection."),
    CommandSpec::new("bgsave", AtLeast(1), Group::Server, "1.0.0", Handler::Admin)
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::NO_ASYNC_LOADING], &[])
        .docs("O(1)", "Writes all memtables to tables on disk."),
    CommandSpec::new("command", AtLeast(1), Group::Server, "2.8.13", Handler::Fast(introspect::command))
        .flags(&[Flags::LOADING, Flags::STALE], &[Categories::CONNECTION])
        .tips(&["nondeterministic_output_order"])
        .docs("O(N) where N is the total number of Redis commands", "Returns detailed information about all commands."),
    CommandSpec::new("command|count", Exactly(2), Group::Server, "2.8.13", Handler::Fast(introspect::count))
        .flags(&[Flags::LOADING, Flags::STALE], &[Categories::CONNECTION])
        .docs("O(1)", "Returns a count of commands."),
    CommandSpec::new("command|docs", AtLeast(2), Group::Server, "7.0.0", Handler::Fast(introspect::docs))
        .flags(&[Flags::LOADING, Flags::STALE], &[Categories::CONNECTION])
        .tips(&["nondeterministic_output_order"])
        .docs("O(N) where N is the number of commands to look up", "Returns documentary information about one, multiple or all commands."),
    CommandSpec::new("command|getkeys", AtLeast(4), Group::Server, "2.8.13", Handler::Fast(introspect::getkeys))
        .flags(&[Flags::LOADING, Flags::STALE], &[Categories::CONNECTION])
        .docs("O(N) where N is the number of arguments to the command", "Extracts the key names from an arbitrary command."),
    CommandSpec::new("command|getkeysandflags", AtLeast(4), Group::Server, "7.0.0", Handler::Fast(introspect::getkeys_and_flags))
        .flags(&[Flags::LOADING, Flags::STALE], &[Categories::CONNECTION])
        .docs("O(N) where N is the number of arguments to the command", "Extracts the key names and access flags for an arbitrary command."),
    CommandSpec::new("command|help", Exactly(2), Group::Server, "5.0.0", Handler::Fast(introspect::help))
        .flags(&[Flags::LOADING, Flags::STALE], &[Categories::CONNECTION])
        .docs("O(1)", "Returns helpful text about the different subcommands."),
    CommandSpec::new("command|info", AtLeast(2), Group::Server, "2.8.13", Handler::Fast(introspect::info))
        .flags(&[Flags::LOADING, Flags::STALE], &[Categories::CONNECTION])
        .tips(&["nondeterministic_output_order"])
        .docs("O(N) where N is the number of commands to look up", "Returns information about one, multiple or all commands."),
    CommandSpec::new("command|list", AtLeast(2), Group::Server, "7.0.0", Handler::Fast(introspect::list))
        .flags(&[Flags::LOADING, Flags::STALE], &[Categories::CONNECTION])
        .tips(&["nondeterministic_output_order"])
        .docs("O(N) where N is the total number of Redis commands", "Returns a list of command names."),
    CommandSpec::new("config", AtLeast(2), Group::Server, "2.0.0", Handler::Container)
        .docs("Depends on subcommand.", "A container for server configuration commands."),
    CommandSpec::new("config|get", AtLeast(3), Group::Server, "2.0.0", Handler::Admin)
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[])
        .docs("O(N) when N is the number of configuration parameters provided", "Returns the effective values of configuration parameters."),
    CommandSpec::new("config|help", Exactly(2), Group::Server, "5.0.0", Handler::Fast(introspect::help))
        .flags(&[Flags::LOADING, Flags::STALE], &[])
        .docs("O(1)", "Returns helpful text about the different subcommands."),
    CommandSpec::new("config|resetstat", Exactly(2), Group::Server, "2.0.0", Handler::Admin)
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[])
        .docs("O(1)", "Resets the server's statistics."),
    CommandSpec::new("config|rewrite", Exactly(2), Group::Server, "2.8.0", Handler::Admin)
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[])
        .docs("O(1)", "Persists the effective configuration to file."),
    CommandSpec::new("config|set", AtLeast(4), Group::Server, "2.0.0", Handler::Admin)
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .docs("O(N) when N is the number of configuration parameters provided", "Sets configuration parameters in-flight."),
    CommandSpec::new("dbsize", Exactly(1), Group::Server, "1.0.0", Handler::Fast(keyspace::dbsize))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::KEYSPACE])
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"])
        .docs("O(1)", "Returns the number of keys in the database."),
    CommandSpec::new("debug", AtLeast(2), Group::Server, "1.0.0", Handler::Admin)
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[])
        .docs("Depends on subcommand.", "A container for debugging commands."),
    CommandSpec::new("failover", AtLeast(1), Group::Server, "6.2.0", Handler::Fast(node::failover))
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::STALE], &[])
        .docs("O(1)", "Starts a coordinated failover from a server to one of its replicas."),
    CommandSpec::new("flushall", AtLeast(1), Group::Server, "1.0.0", Handler::Fast(keyspace::flushall))
        .flags(&[Flags::WRITE], &[Categories::KEYSPACE, Categories::DANGEROUS])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .docs("O(1)", "Removes all keys from all databases."),
    CommandSpec::new("flushdb", AtLeast(1), Group::Server, "1.0.0", Handler::Fast(keyspace::flushdb))
        .flags(&[Flags::WRITE], &[Categories::KEYSPACE, Categories::DANGEROUS])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .docs("O(1)", "Removes all keys from the current database."),
    CommandSpec::new("info", AtLeast(1), Group::Server, "1.0.0", Handler::Admin)
        .flags(&[Flags::LOADING, Flags::STALE], &[Categories::DANGEROUS])
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .docs("O(1)", "Returns information and statistics about the server."),
    CommandSpec::new("lastsave", Exactly(1), Group::Server, "1.0.0", Handler::Admin)
        .flags(&[Flags::LOADING, Flags::STALE, Flags::FAST], &[Categories::ADMIN, Categories::DANGEROUS])
        .tips(&["nondeterministic_output"])
        .docs("O(1)", "Returns the Unix timestamp of the last successful save to disk."),
    CommandSpec::new("latency", AtLeast(2), Group::Server, "2.8.13", Handler::Container)
        .docs("Depends on subcommand.", "A container for latency diagnostics commands."),
    CommandSpec::new("latency|doctor", Exactly(2), Group::Server, "2.8.13", Handler::Admin)
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[])
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
        .docs("O(1)", "Returns a human-readable latency analysis report."),
    CommandSpec::new("latency|help", Exactly(2), Group::Server, "2.8.13", Handler::Fast(introspect::help))
        .flags(&[Flags::LOADING, Flags::STALE], &[])
        .docs("O(1)", "Returns helpful text about the different subcommands."),
    CommandSpec::new("latency|histogram", AtLeast(2), Group::Server, "7.0.0", Handler::Admin)
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[])
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
        .docs("O(N) where N is the number of commands with latency information being retrieved.", "Returns the cumulative distribution of latencies of a subset or all commands."),
    CommandSpec::new("latency|history", Exactly(3), Group::Server, "2.8.13", Handler::Admin)
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[])
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
        .docs("O(1)", "Returns timestamp-latency samples for an event."),
    CommandSpec::new("latency|latest", Exactly(2), Group::Server, "2.8.13", Handler::Admin)
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[])
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
        .docs("O(1)", "Returns the latest latency samples for all events."),
    CommandSpec::new("latency|reset", AtLeast(2), Group::Server, "2.8.13", Handler::Admin)
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .docs("O(1)", "Resets the latency data for one or more events."),
    CommandSpec::new("lolwut", AtLeast(1), Group::Server, "5.0.0", Handler::Fast(node::lolwut))
        .flags(&[Flags::READONLY, Flags::FAST], &[])
        .docs("O(1)", "Displays computer art and the Redis version."),
    CommandSpec::new("memory", AtLeast(2), Group::Server, "4.0.0", Handler::Container)
        .docs("Depends on subcommand.", "A container for memory diagnostics commands."),
    CommandSpec::new("memory|doctor", Exactly(2), Group::Server, "4.0.0", Handler::Admin)
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .docs("O(1)", "Outputs a memory problems report."),
    CommandSpec::new("memory|help", Exactly(2), Group::Server, "4.0.0", Handler::Fast(introspect::help))
        .flags(&[Flags::LOADING, Flags::STALE], &[])
        .docs("O(1)", "Returns helpful text about the different subcommands."),
    CommandSpec::new("memory|purge", Exactly(2), Group::Server, "4.0.0", Handler::Admin)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .docs("Depends on how much memory is allocated, could be slow", "Asks the allocator to release memory."),
    CommandSpec::new("memory|stats", Exactly(2), Group::Server, "4.0.0", Handler::Admin)
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .docs("O(1)", "Returns details about memory usage."),
    CommandSpec::new("memory|usage", AtLeast(3), Group::Server, "4.0.0", Handler::Fast(keys::memory_usage))
        .flags(&[Flags::READONLY], &[])
        .keys(&[KeySpec::new(2, 0, 1, &["RO"])])
        .docs("O(N) where N is the number of samples.", "Estimates the memory usage of a key."),
    CommandSpec::new("monitor", Exactly(1), Group::Server, "1.0.0", Handler::Fast(tracking::monitor))
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[])
        .docs("O(1)", "Listens for all requests received by the server in real-time."),
    CommandSpec::new("replicaof", Exactly(3), Group::Server, "5.0.0", Handler::Fast(node::replicaof))
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::STALE, Flags::NO_ASYNC_LOADING], &[])
        .docs("O(1)", "Configures a server as replica of another, or promotes it to a master."),
    CommandSpec::new("role", Exactly(1), Group::Server, "2.8.12", Handler::Fast(node::role))
        .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE, Flags::FAST], &[Categories::ADMIN, Categories::DANGEROUS])
        .docs("O(1)", "Returns the replication role."),
    CommandSpec::new("save", Exactly(1), Group::Server, "1.0.0", Handler::Admin)
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::NO_ASYNC_LOADING, Flags::NO_MULTI], &[])
        .docs("O(N) where N is the total number of keys in all databases", "Synchronously writes all memtables to tables on disk."),
    CommandSpec::new("shutdown", AtLeast(1), Group::Server, "1.0.0", Handler::Admin)
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE, Flags::NO_MULTI, Flags::ALLOW_BUSY], &[])
        .docs("O(N) when saving, where N is the total number of keys in all databases when saving data, otherwise O(1)", "Writes what is left to disk and shuts down the server."),
    CommandSpec::new("slaveof", Exactly(3), Group::Server, "1.0.0", Handler::Fast(node::replicaof))
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::STALE, Flags::NO_ASYNC_LOADING], &[])
        .deprecated("5.0.0", "`REPLICAOF`")
        .docs("O(1)", "Sets a server as a replica of another, or promotes it to being a master."),
    CommandSpec::new("slowlog", AtLeast(2), Group::Server, "2.2.12", Handler::Container)
        .docs("Depends on subcommand.", "A container for slow log commands."),
    CommandSpec::new("slowlog|get", AtLeast(2), Group::Server, "2.2.12", Handler::Admin)
        .flags(&[Flags::ADMIN, Flags::LOADING, Flags::STALE], &[])
        .tips(&["request_policy:all_nodes", "nondeterministic_output"])
        .docs("O(N) where N is the number of entries returned", "Returns the slow log's entries."),
    CommandSpec::new("slowlog|help", Exactly(2), Group::Server, "6.2.0", Handler::Fast(introspect::help))
        .flags(&[Flags::LOADING, Flags::STALE], &[])
        .docs("O(1)", "Returns helpful text about the different subcommands."),
    CommandSpec::new("slowlog|len", Exactly(2), Group::Server, "2.2.12", Handler::Admin)
        .flags(&[Flags::ADMIN, Flags::LOADING, Flags::STALE], &[])
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"])
        .docs("O(1)", "Returns the number of entries in the slow log."),
    CommandSpec::new("slowlog|reset", Exactly(2), Group::Server, "2.2.12", Handler::Admin)
        .flags(&[Flags::ADMIN, Flags::LOADING, Flags::STALE], &[])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .docs("O(N) where N is the number of entries in the slowlog", "Clears all entries from the slow log."),
    CommandSpec::new("swapdb", Exactly(3), Group::Server, "4.0.0", Handler::Fast(keyspace::swapdb))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::KEYSPACE, Categories::DANGEROUS])
        .docs("O(N) where N is the count of clients watching or blocking on keys from both databases.", "Not supported: databases cannot be swapped."),
    CommandSpec::new("table", AtLeast(2), Group::Server, "7.2.0", Handler::Container)
        .docs("Depends on subcommand.", "A container for commands on named tables (of Coney)."),
    CommandSpec::new("table|create", AtLeast(3), Group::Server, "7.2.0", Handler::Slow(tenant::create))
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT], &[])
        .docs("O(N) where N is the number of named tables", "Gives a database a name and limits."),
    CommandSpec::new("table|drop", Exactly(3), Group::Server, "7.2.0", Handler::Slow(tenant::drop_name))
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT], &[])
        .docs("O(1)", "Takes a database's name and limits away; its keys stay."),
    CommandSpec::new("table|help", Exactly(2), Group::Server, "7.2.0", Handler::Fast(introspect::help))
        .flags(&[Flags::LOADING, Flags::STALE], &[])
        .docs("O(1)", "Returns helpful text about the different subcommands."),
    CommandSpec::new("table|list", Exactly(2), Group::Server, "7.2.0", Handler::Slow(tenant::list))
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT], &[])
        .docs("O(N) where N is the number of named tables", "Lists the named tables with their limits."),
    CommandSpec::new("table|set", AtLeast(5), Group::Server, "7.2.0", Handler::Slow(tenant::set))
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT], &[])
        .docs("O(1)", "Changes the limits of a named table."),
    CommandSpec::new("time", Exactly(1), Group::Server, "2.6.0", Handler::Fast(connection::time))
        .flags(&[Flags::LOADING, Flags::STALE, Flags::FAST], &[])
        .tips(&["nondeterministic_output"])
        .docs("O(1)", "Returns the server time."),
];
