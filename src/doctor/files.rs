//! The files that the process may open: each connection takes one.

use super::Finding;
use crate::{
    server::{connections_possible, files_needed},
    settings::LimitSettings,
};

pub(super) fn check(limits: &LimitSettings) -> Vec<Finding> {
    let wanted = limits.connections_max;
    vec![match connections_possible() {
        Ok((files, possible)) if possible < wanted => Finding::warn(
            "files",
            format!("{files} open files are room for {possible} connections to each API, not for {wanted}"),
            format!(
                "raise the limit (ulimit -n, LimitNOFILE=) to {}, or give fewer --connections-max",
                files_needed(wanted)
            ),
        ),
        Ok((files, _)) => {
            Finding::ok("files", format!("{files} open files are room for {wanted} connections to each API"))
        }
        Err(error) => Finding::warn(
            "files",
            format!("how many may be open is not known: {error}"),
            "see to it that they are enough for --connections-max",
        ),
    }]
}
