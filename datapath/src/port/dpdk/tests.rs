//! The port over DPDK's virtual devices on a veth, without a NIC and without huge pages.
//!
//! DPDK starts once in a process, so there is one test. Without root it says so and passes.

use super::*;
use crate::port::af_xdp::tests::netns::{Lab, PORT, ip, say};
use crate::port::conformance;

#[test]
fn port_conforms_over_af_packet_and_over_af_xdp() {
    let Some(lab) = Lab::new("port_conforms_over_af_packet_and_over_af_xdp", 1, 1500) else {
        return;
    };
    let mut peer = lab.raw_peer();
    lab.at_port(|| {
        // The kernel at this end shall not speak: a packet socket hears that, too.
        ip(&format!("addr flush dev {PORT}")).unwrap();
        let eal = Eal::start(&format!(
            "--no-pci --no-huge -m 256 --no-telemetry --vdev=net_af_packet0,iface={PORT} \
             --vdev=net_af_xdp0,iface={PORT},force_copy=1"
        ))
        .unwrap();
        assert!(matches!(Eal::start("").unwrap_err(), Error::StartedBefore));
        assert_eq!(eal.device_names(), ["net_af_packet0", "net_af_xdp0"]);
        let options =
            Options { rx_frames: 256, tx_frames: 512, descriptors: 256, ..Options::default() };
        assert!(matches!(open(eal, "", &options).unwrap_err(), Error::SeveralDevices { .. }));
        assert!(matches!(open(eal, "eth7", &options).unwrap_err(), Error::NoSuchDevice { .. }));
        let too_few = Options { rx_frames: 1, ..options.clone() };
        let refused = open(eal, "net_af_packet0", &too_few).unwrap_err();
        assert!(matches!(refused, Error::OptionOutOfRange { .. }));
        for device in ["net_af_packet0", "net_af_xdp0"] {
            let mut ports = open(eal, device, &options).unwrap();
            let [port] = &mut ports[..] else { panic!("one port per queue") };
            assert_eq!(port.device_name(), device);
            conformance::run_all(port, &mut peer);
            say(&format!("{device} conforms"));
        }
    });
}
