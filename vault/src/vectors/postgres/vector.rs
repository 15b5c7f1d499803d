//! pgvector's type `vector` in its binary form, which loses no bit: the count of numbers and an unused field of two bytes
//! each, then the numbers, all in big endian. From `vector_send` and `vector_recv` of pgvector's `src/vector.c`.

use std::error::Error;

use bytes::{BufMut as _, BytesMut};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

/// A vector of pgvector.
#[derive(Debug)]
pub struct Vector(pub Vec<f32>);

impl ToSql for Vector {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_u16(u16::try_from(self.0.len())?);
        out.put_u16(0);
        self.0.iter().for_each(|number| out.put_f32(*number));
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        kind.name() == "vector"
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Vector {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let (numbers, rest) = raw.get(4..).ok_or("a vector that is cut short")?.as_chunks::<4>();
        if !rest.is_empty() || numbers.len() != usize::from(u16::from_be_bytes([raw[0], raw[1]])) {
            return Err("a vector of another length than it says".into());
        }
        Ok(Self(numbers.iter().map(|number| f32::from_be_bytes(*number)).collect()))
    }

    fn accepts(kind: &Type) -> bool {
        kind.name() == "vector"
    }
}
