//! The findings, as text and as JSON.

use std::fmt;

use serde::Serialize;

/// The cause of a failure, in the order in which to mend them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The settings.
    Settings,
    /// The database.
    Database,
    /// Anything else.
    Other,
}

/// The verdict of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong.
    Ok,
    /// The service works, but worse than it should.
    Warn,
    /// The service does not work.
    Fail(Fault),
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail(_) => "FAIL",
        }
    }
}

/// The finding of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    verdict: Verdict,
    what: String,
    detail: String,
    /// What to do. There is none with [`Verdict::Ok`].
    advice: Option<String>,
}

impl Finding {
    /// A finding with [`Verdict::Ok`].
    pub(super) fn ok(what: &str, detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, what: what.to_owned(), detail: detail.into(), advice: None }
    }

    /// A finding with [`Verdict::Warn`].
    pub(super) fn warn(what: &str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warn, advice: Some(advice.into()), ..Self::ok(what, detail) }
    }

    /// A finding with [`Verdict::Fail`].
    pub(super) fn fail(
        fault: Fault,
        what: &str,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { verdict: Verdict::Fail(fault), ..Self::warn(what, detail, advice) }
    }
}

/// The findings of all checks, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report(Vec<Finding>);

/// A finding as a line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    verdict: &'static str,
    what: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'a str>,
}

impl Report {
    pub(super) const fn new(findings: Vec<Finding>) -> Self {
        Self(findings)
    }

    /// The fault to mend first, if there is one.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        let faults = self.0.iter().filter_map(|finding| match finding.verdict {
            Verdict::Fail(fault) => Some(fault),
            Verdict::Ok | Verdict::Warn => None,
        });
        faults.min()
    }

    /// One JSON object for each finding, each on its own line.
    #[must_use]
    pub fn to_json(&self) -> String {
        let line = |Finding { verdict, what, detail, advice }: &Finding| {
            let line = Line { verdict: verdict.as_str(), what, detail, advice: advice.as_deref() };
            // Serialising strings does not fail.
            serde_json::to_string(&line).unwrap_or_default() + "\n"
        };
        self.0.iter().map(line).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { verdict, what, detail, advice } in &self.0 {
            writeln!(f, "{:<4}  {what}: {detail}", verdict.as_str())?;
            if let Some(advice) = advice {
                writeln!(f, "      {advice}")?;
            }
        }
        Ok(())
    }
}
