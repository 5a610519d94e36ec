//! Where no XDP program decides who may connect.

use std::sync::Arc;

use coney_xdp_prog::{AccessList, Rules};

use super::script::{OPEN_PLAIN, Script};
use crate::admission::Admission;
use crate::transport::Transport;

fn script(rules: &Arc<Rules>) -> Script {
    let mut script = Script::new();
    script.transport.set_admission(Admission::new(Arc::clone(rules), [7; 16]));
    script
}

fn denied() -> Arc<Rules> {
    let access = AccessList::new(&[], &["10.0.0.0/24".parse().unwrap()]).unwrap();
    Arc::new(Rules { access, ..Rules::default() })
}

#[test]
fn a_syn_beyond_the_limit_is_not_answered_and_another_one_later_is() {
    let rules = Rules { syns_per_source: 2, ..Rules::default() };
    let mut script = script(&Arc::new(rules));
    script.run(
        "0 <1 S 0:0(0) win 60000 <mss 1000>
         0 >1 S. 0:0(0) ack 1
         0 <2 S 0:0(0) win 60000 <mss 1000>
         0 >2 S. 0:0(0) ack 1
         0 <3 S 0:0(0) win 60000 <mss 1000>
         0 <1 . 1:1(0) ack 1
         0 = accept
         499 <3 S 0:0(0) win 60000 <mss 1000>
         500 <3 S 0:0(0) win 60000 <mss 1000>
         500 >3 S. 0:0(0) ack 1",
    );
    assert_eq!(script.transport.tcp_counters().rx_syns, 3);
}

#[test]
fn a_refused_source_hears_nothing() {
    let mut script = script(&denied());
    script.run(
        "0 < S 0:0(0) win 60000 <mss 1000>
         1 < . 1:1(0) ack 1
         2 < P. 1:11(10) ack 1",
    );
    assert_eq!(script.transport.half_open_and_time_wait().0, 0);
}

#[test]
fn connections_that_exist_outlive_a_list_that_refuses_their_source() {
    let mut script = script(&Arc::default());
    script.run(OPEN_PLAIN);
    script.transport.set_rules(&denied());
    script.run(
        "10 < P. 1:11(10) ack 1
         10 = data 10
         11 <2 S 0:0(0) win 60000 <mss 1000>
         50 > . 1:1(0) ack 11",
    );
}
