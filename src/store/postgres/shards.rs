//! The shards of Citus, so that a batch holds the calls of one shard.
//!
//! A write to several shards is a two-phase commit, and Citus runs one such write at a time for
//! each shard. So the batcher keeps the users of different shards apart. A wrong guess costs
//! speed, never correctness.

use std::sync::{PoisonError, RwLock};

use sqlx::{Connection, PgConnection};

use crate::store::{OpenError, connection::unreachable, error::describe};

/// The range of hash values of each shard of `presence_sessions`, ordered.
const RANGES: &str = "
select shardmaxvalue::integer
from pg_dist_shard
where logicalrelid = 'presence_sessions'::regclass
order by shardmaxvalue::integer";

/// Whether Citus is installed, and the sessions are distributed.
const INSTALLED: &str = "select exists (select from pg_extension where extname = 'citus')";
const DISTRIBUTED: &str = "
select exists (
    select from pg_dist_partition where logicalrelid = to_regclass('presence_sessions') and partmethod = 'h'
)";

const DISTRIBUTE_SESSIONS: &str = "
select create_distributed_table(
    'presence_sessions', 'user_id',
    shard_count := coalesce($1, current_setting('citus.shard_count')::integer)
)";
const DISTRIBUTE_USERS: &str =
    "select create_distributed_table('presence_users', 'user_id', colocate_with := 'presence_sessions')";
const DISTRIBUTE_HISTORY: &str =
    "select create_distributed_table('presence_history', 'user_id', colocate_with := 'presence_sessions')";

/// The shards of a database on which the sessions are distributed.
#[derive(Debug, Default)]
pub(in crate::store) struct Shards {
    /// The highest hash value of each shard, ordered.
    highest: RwLock<Vec<i32>>,
}

impl Shards {
    /// Reads the shards. Returns `None` if the sessions are not distributed.
    pub(in crate::store) async fn read(connection: &mut PgConnection) -> Result<Option<Self>, sqlx::Error> {
        if !is_installed(connection).await? || !is_distributed(connection).await? {
            return Ok(None);
        }
        let shards = Self::default();
        shards.refresh(connection).await?;
        Ok(Some(shards))
    }

    /// Reads the ranges again, which change when shards are split.
    pub(in crate::store) async fn refresh(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let highest = sqlx::query_scalar(RANGES).fetch_all(connection).await?;
        *self.highest.write().unwrap_or_else(PoisonError::into_inner) = highest;
        Ok(())
    }

    /// The number of shards.
    pub(in crate::store) fn number(&self) -> usize {
        self.highest.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The shard of a user, as a number.
    pub(super) fn of(&self, user_id: &str) -> u32 {
        let hash = hashtext(user_id.as_bytes());
        let highest = self.highest.read().unwrap_or_else(PoisonError::into_inner);
        u32::try_from(highest.partition_point(|highest| *highest < hash)).unwrap_or_default()
    }
}

/// Whether Citus is installed in the database.
async fn is_installed(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(INSTALLED).fetch_one(connection).await
}

/// Whether the sessions are distributed. Citus must be installed.
async fn is_distributed(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(DISTRIBUTED).fetch_one(connection).await
}

/// Distributes the tables, co-located, into `number` shards or Citus's default number.
pub(in crate::store) async fn distribute(
    connection: &mut PgConnection,
    number: Option<u32>,
) -> Result<(), OpenError> {
    let refused = |text: &str| Err(OpenError::Incompatible(text.to_owned()));
    if !is_installed(connection).await.map_err(unreachable)? {
        return refused(
            "Citus is not installed in this database; on each node run `create extension citus`, then try again",
        );
    }
    if is_distributed(connection).await.map_err(unreachable)? {
        return refused(
            "the tables are distributed already; to change the number of shards use Citus's alter_distributed_table",
        );
    }
    let failed = |error: sqlx::Error| {
        let text = format!(
            "the tables can't be distributed: {}; run this as the owner of the tables",
            describe(&error)
        );
        OpenError::Incompatible(text)
    };
    let mut transaction = connection.begin().await.map_err(failed)?;
    let number = number.map(|number| i32::try_from(number).unwrap_or(i32::MAX));
    sqlx::query(DISTRIBUTE_SESSIONS).bind(number).execute(&mut *transaction).await.map_err(failed)?;
    sqlx::query(DISTRIBUTE_USERS).execute(&mut *transaction).await.map_err(failed)?;
    sqlx::query(DISTRIBUTE_HISTORY).execute(&mut *transaction).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)
}

/// PostgreSQL's `hashtext`, by which Citus distributes texts: lookup3 of Bob Jenkins.
fn hashtext(text: &[u8]) -> i32 {
    let length = u32::try_from(text.len()).unwrap_or_default();
    let start = 0x9e37_79b9_u32.wrapping_add(length).wrapping_add(3_923_095);
    let mut state = [start; 3];
    let (blocks, rest) = text.as_chunks::<12>();
    for block in blocks {
        add(&mut state, block);
        mix(&mut state);
    }
    // The lowest byte of the last word is reserved for the length.
    let mut last = [0; 12];
    for (index, byte) in rest.iter().enumerate() {
        let place = if index < 8 { index } else { index + 1 };
        if let Some(place) = last.get_mut(place) {
            *place = *byte;
        }
    }
    add(&mut state, &last);
    finish(&mut state);
    state[2].cast_signed()
}

fn add(state: &mut [u32; 3], block: &[u8; 12]) {
    let (words, _) = block.as_chunks::<4>();
    for (word, bytes) in state.iter_mut().zip(words) {
        *word = word.wrapping_add(u32::from_le_bytes(*bytes));
    }
}

fn mix([a, b, c]: &mut [u32; 3]) {
    let step = |x: &mut u32, y: &mut u32, z: &mut u32, by: u32| {
        *x = x.wrapping_sub(*z) ^ z.rotate_left(by);
        *z = z.wrapping_add(*y);
    };
    step(a, b, c, 4);
    step(b, c, a, 6);
    step(c, a, b, 8);
    step(a, b, c, 16);
    step(b, c, a, 19);
    step(c, a, b, 4);
}

fn finish([a, b, c]: &mut [u32; 3]) {
    let step = |x: &mut u32, y: &u32, by: u32| *x = (*x ^ *y).wrapping_sub(y.rotate_left(by));
    step(c, b, 14);
    step(a, c, 11);
    step(b, a, 25);
    step(c, b, 16);
    step(a, c, 4);
    step(b, a, 14);
    step(c, b, 24);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are those of `select hashtext(…)` of PostgreSQL 15.
    #[test]
    fn the_hash_is_that_of_postgresql() {
        for (text, hash) in VECTORS {
            assert_eq!(hashtext(text.as_bytes()), hash, "{text:?}");
        }
    }

    #[test]
    fn a_user_is_in_the_shard_whose_range_contains_the_hash() {
        let shards = Shards { highest: RwLock::new(vec![-1_073_741_825, -1, 1_073_741_823, i32::MAX]) };
        for (text, shard) in [("abcdefghijkl", 0), ("ab", 3), ("abcdefgh", 0), ("abc", 1), ("abcdefg", 2)] {
            assert_eq!(shards.of(text), shard, "{text:?}");
        }
        assert_eq!(Shards::default().of("u"), 0);
    }

    const VECTORS: [(&str, i32); 14] = [
        ("", -1_477_818_771),
        ("a", 1_075_015_857),
        ("ab", 1_718_550_461),
        ("abc", -785_388_649),
        ("abcd", -393_934_804),
        ("abcde", -445_659_580),
        ("abcdefg", 501_636_814),
        ("abcdefgh", -1_960_928_205),
        ("abcdefghi", -92_131_489),
        ("abcdefghijk", -1_483_803_693),
        ("abcdefghijkl", -1_586_087_212),
        ("abcdefghijklm", 405_849_808),
        ("fa8bf3dc-eca7-46b7-bad1-db199b62afc3", -191_572_089),
        ("Megan@Contoso.com", 883_425_860),
    ];
}
