//! The commands of the MySQL protocol.

use std::sync::Arc;

use mysql_common::constants::ColumnType;
use mysql_common::io::ParseBuf;
use mysql_common::packets::Column;
use mysql_common::proto::{Binary, MySerialize};
use mysql_common::row::{Row, RowDeserializer};
use mysql_common::value::{ServerSide, Value};

use super::error::ProtocolError;
use super::login;
use super::packet::{PacketReader, PacketStream};
use super::target::Target;
use crate::remote::Deadline;

const COM_QUERY: u8 = 0x03;
const COM_PING: u8 = 0x0e;
const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_EXECUTE: u8 = 0x17;
const COM_STMT_CLOSE: u8 = 0x19;

/// The status flag that announces another result.
const MORE_RESULTS: u64 = 0x0008;

/// The server's limit of columns in a table or result.
const MAX_COLUMNS: u64 = 4_096;

/// A prepared statement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Statement {
    id: u32,
    parameters: usize,
}

/// A connection after its login.
pub(super) struct Client {
    stream: PacketStream,
    /// The last packet that was read.
    packet: Vec<u8>,
}

/// The first packet of a result.
enum ResultHead {
    /// The result of a statement without rows.
    Done { changed: u64, status: u64 },
    /// The number of columns of a result with rows.
    Columns(u64),
}

impl Client {
    pub(super) fn connect(target: &Target, deadline: Deadline) -> Result<Self, ProtocolError> {
        Ok(Self { stream: login::connect(target, deadline)?, packet: Vec::new() })
    }

    pub(super) fn begin(&mut self, deadline: Deadline) {
        self.stream.begin(deadline);
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.stream.is_quiet()
    }

    pub(super) fn ping(&mut self) -> Result<(), ProtocolError> {
        self.stream.request(&[COM_PING])?;
        self.receive()
    }

    /// Executes the statements of a text, and fails if one of them fails. Passes the fields of each
    /// row to `each`.
    pub(super) fn query(
        &mut self,
        sql: &str,
        mut each: impl FnMut(&[Option<&[u8]>]),
    ) -> Result<(), ProtocolError> {
        self.stream.request(&[&[COM_QUERY], sql.as_bytes()].concat())?;
        loop {
            let status = match self.head()? {
                ResultHead::Done { status, .. } => status,
                ResultHead::Columns(count) => {
                    self.skip_columns(count)?;
                    self.text_rows(count, &mut each)?
                }
            };
            if status & MORE_RESULTS == 0 {
                return Ok(());
            }
        }
    }

    fn text_rows(
        &mut self,
        count: u64,
        each: &mut impl FnMut(&[Option<&[u8]>]),
    ) -> Result<u64, ProtocolError> {
        loop {
            self.receive()?;
            if let Some(status) = self.end()? {
                return Ok(status);
            }
            let mut parts = PacketReader(&self.packet);
            let fields = (0..count).map(|_| parts.text()).collect::<Result<Vec<_>, _>>()?;
            each(&fields);
        }
    }

    pub(super) fn prepare(&mut self, sql: &str) -> Result<Statement, ProtocolError> {
        self.stream.request(&[&[COM_STMT_PREPARE], sql.as_bytes()].concat())?;
        self.receive()?;
        let mut parts = PacketReader(&self.packet);
        parts.bytes(1)?;
        let id = parts.number(4)? as u32;
        let (columns, parameters) = (parts.number(2)?, parts.number(2)?);
        for described in [parameters, columns] {
            if described > 0 {
                self.skip_columns(described)?;
            }
        }
        Ok(Statement { id, parameters: parameters as usize })
    }

    /// Closes a prepared statement. The server sends no response.
    pub(super) fn close(&mut self, statement: Statement) -> Result<(), ProtocolError> {
        self.stream.request(&[&[COM_STMT_CLOSE], &statement.id.to_le_bytes()[..]].concat())
    }

    /// Executes a prepared statement, passes each row to `each`, and returns the number of changed
    /// rows.
    pub(super) fn execute(
        &mut self,
        statement: Statement,
        values: &[Value],
        mut each: impl FnMut(Row),
    ) -> Result<u64, ProtocolError> {
        if values.len() != statement.parameters {
            return Err(ProtocolError::Malformed("a statement with another number of parameters"));
        }
        self.stream.request(&execute_command(statement, values))?;
        let mut total = 0_u64;
        loop {
            let status = match self.head()? {
                ResultHead::Done { changed, status } => {
                    total = total.saturating_add(changed);
                    status
                }
                ResultHead::Columns(count) => {
                    let columns = self.columns(count)?;
                    self.rows(&columns, &mut each)?
                }
            };
            if status & MORE_RESULTS == 0 {
                return Ok(total);
            }
        }
    }

    fn rows(
        &mut self,
        columns: &Arc<[Column]>,
        each: &mut dyn FnMut(Row),
    ) -> Result<u64, ProtocolError> {
        loop {
            self.receive()?;
            if let Some(status) = self.end()? {
                return Ok(status);
            }
            let row = ParseBuf(&self.packet).parse(columns.clone());
            let row: RowDeserializer<ServerSide, Binary> =
                row.map_err(|_| ProtocolError::Malformed("a malformed row"))?;
            each(row.into_inner());
        }
    }

    fn receive(&mut self) -> Result<(), ProtocolError> {
        self.stream.receive(&mut self.packet)
    }

    fn head(&mut self) -> Result<ResultHead, ProtocolError> {
        self.receive()?;
        let mut parts = PacketReader(&self.packet);
        if self.packet[..1] == [0] {
            parts.bytes(1)?;
            let changed = parts.length_encoded()?.unwrap_or_default();
            parts.length_encoded()?;
            return Ok(ResultHead::Done { changed, status: parts.number(2)? });
        }
        match parts.length_encoded()? {
            Some(count @ 1..=MAX_COLUMNS) => Ok(ResultHead::Columns(count)),
            Some(_) => Err(ProtocolError::Malformed("a result with too many columns")),
            None => Err(ProtocolError::Malformed("a request for a local file")),
        }
    }

    fn columns(&mut self, count: u64) -> Result<Arc<[Column]>, ProtocolError> {
        let mut columns = Vec::new();
        for _ in 0..count {
            self.receive()?;
            columns.push(column(&self.packet)?);
        }
        self.expect_end()?;
        Ok(columns.into())
    }

    fn skip_columns(&mut self, count: u64) -> Result<(), ProtocolError> {
        (0..count).try_for_each(|_| self.receive())?;
        self.expect_end()
    }

    fn expect_end(&mut self) -> Result<(), ProtocolError> {
        self.receive()?;
        match self.end()? {
            Some(_) => Ok(()),
            None => Err(ProtocolError::Malformed("more columns than announced")),
        }
    }

    /// Returns the status if the packet ends a list.
    fn end(&self) -> Result<Option<u64>, ProtocolError> {
        if self.packet.len() >= 9 || self.packet.first() != Some(&0xfe) {
            return Ok(None);
        }
        let mut parts = PacketReader(&self.packet);
        parts.bytes(3)?;
        parts.number(2).map(Some)
    }
}

/// Parses the description of a column. Internal types are rejected, because the library panics on
/// rows with them.
fn column(packet: &[u8]) -> Result<Column, ProtocolError> {
    use ColumnType::{
        MYSQL_TYPE_DATETIME2, MYSQL_TYPE_TIME2, MYSQL_TYPE_TIMESTAMP2, MYSQL_TYPE_TYPED_ARRAY,
        MYSQL_TYPE_UNKNOWN,
    };
    let column: std::io::Result<Column> = ParseBuf(packet).parse(());
    let column = column.map_err(|_| ProtocolError::Malformed("a malformed column"))?;
    match column.column_type() {
        MYSQL_TYPE_DATETIME2
        | MYSQL_TYPE_TIME2
        | MYSQL_TYPE_TIMESTAMP2
        | MYSQL_TYPE_TYPED_ARRAY
        | MYSQL_TYPE_UNKNOWN => Err(ProtocolError::Malformed("a column of an internal type")),
        _ => Ok(column),
    }
}

/// Returns the command that executes a statement.
fn execute_command(statement: Statement, values: &[Value]) -> Vec<u8> {
    let size: u64 = values.iter().map(|value| value.bin_len() + 3).sum();
    let mut bytes = Vec::with_capacity(size as usize + 16);
    bytes.push(COM_STMT_EXECUTE);
    bytes.extend_from_slice(&statement.id.to_le_bytes());
    // No cursor, one iteration.
    bytes.extend_from_slice(&[0, 1, 0, 0, 0]);
    if values.is_empty() {
        return bytes;
    }
    for eight in values.chunks(8) {
        let null = |(at, value): (usize, &Value)| u8::from(*value == Value::NULL) << at;
        bytes.push(eight.iter().enumerate().map(null).sum());
    }
    // The types of the parameters follow.
    bytes.push(1);
    for value in values {
        let (ty, unsigned) = type_of(value);
        bytes.extend_from_slice(&[ty as u8, if unsigned { 0x80 } else { 0 }]);
    }
    values.iter().for_each(|value| value.serialize(&mut bytes));
    bytes
}

/// Returns the type of a value, and whether it is unsigned.
fn type_of(value: &Value) -> (ColumnType, bool) {
    let ty = match value {
        Value::NULL => ColumnType::MYSQL_TYPE_NULL,
        Value::Bytes(_) => ColumnType::MYSQL_TYPE_VAR_STRING,
        Value::Int(_) | Value::UInt(_) => ColumnType::MYSQL_TYPE_LONGLONG,
        Value::Float(_) => ColumnType::MYSQL_TYPE_FLOAT,
        Value::Double(_) => ColumnType::MYSQL_TYPE_DOUBLE,
        Value::Date(..) => ColumnType::MYSQL_TYPE_DATETIME,
        Value::Time(..) => ColumnType::MYSQL_TYPE_TIME,
    };
    (ty, matches!(value, Value::UInt(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_columns_and_rows_do_not_panic() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let types = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 245, 246, 252, 253, 254];
        let mut read = 0;
        for _ in 0..200_000 {
            let ty = types[random(types.len() as u64) as usize];
            let head = b"\x03def\0\0\0\x01c\0\x0c\x2d\0\0\0\0\0";
            let mut column = [&head[..], &[ty, 0, 0, 0, 0, 0]].concat();
            if random(4) == 0 {
                let at = random(column.len() as u64) as usize;
                column[at] = random(256) as u8;
            }
            let Ok(column) = super::column(&column) else { continue };
            let mut row = vec![0, (random(3) * 4) as u8];
            let (length, below) = (random(24), [16, 256][random(2) as usize]);
            row.extend((0..length).map(|_| random(below) as u8));
            let columns: Arc<[Column]> = vec![column].into();
            let row: std::io::Result<RowDeserializer<ServerSide, Binary>> =
                ParseBuf(&row).parse(columns);
            read += usize::from(row.is_ok());
        }
        assert!(read > 10_000, "{read}");
    }
}
