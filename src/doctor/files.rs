//! The limit of open files: each connection needs one.

use super::report::Finding;
use crate::{
    server::{connections_possible, files_needed},
    settings::LimitSettings,
};

pub(super) fn check(limits: &LimitSettings) -> Vec<Finding> {
    let wanted = limits.connections_max;
    vec![match connections_possible() {
        Ok((files, possible)) if possible < wanted => Finding::warn(
            "files",
            format!("{files} open files suffice for {possible} connections to each API, not for {wanted}"),
            format!(
                "raise the limit (ulimit -n, LimitNOFILE=) to {}, or lower --connections-max",
                files_needed(wanted)
            ),
        ),
        Ok((files, _)) => {
            Finding::ok("files", format!("{files} open files suffice for {wanted} connections to each API"))
        }
        Err(error) => Finding::warn(
            "files",
            format!("the limit of open files is unknown: {error}"),
            "make sure that it suffices for --connections-max",
        ),
    }]
}
