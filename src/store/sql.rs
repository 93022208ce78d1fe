//! The text of a statement, which is in a file of its own.

/// A statement: its name, which is that of its file, and its text.
#[derive(Debug)]
pub(super) struct Sql {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
}

/// Reads the statement in the file `NAME.sql` beside the file that uses the macro.
macro_rules! sql {
    ($name:literal) => {
        $crate::store::sql::Sql { name: $name, text: include_str!(concat!($name, ".sql")) }
    };
}
pub(super) use sql;

impl Sql {
    /// Returns the text without the last column of the rows that it returns, which notifies the
    /// replicas. On Citus it would do so on a worker node, where no replica listens.
    pub(super) fn without_notify(&self) -> String {
        let column = self.text.rsplit_once(",\n    case").zip(self.text.rsplit_once("\nfrom written"));
        column.map_or_else(
            || self.text.to_owned(),
            |((columns, _), (_, rest))| format!("{columns}\nfrom written{rest}"),
        )
    }

    /// Returns the text without its `returning` clause.
    pub(super) fn without_returning(&self) -> &'static str {
        self.text.rsplit_once("\nreturning").map_or(self.text, |(text, _)| text)
    }
}
