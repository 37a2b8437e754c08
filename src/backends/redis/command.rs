//! Encoding of commands.

/// Encoded commands, ready to be sent.
#[derive(Debug, Default, Clone)]
pub(super) struct Commands {
    bytes: Vec<u8>,
    count: usize,
}

impl Commands {
    /// Encodes one command.
    pub(super) fn one(parts: &[&[u8]]) -> Self {
        let length = parts.iter().map(|part| part.len() + 16).sum::<usize>() + 16;
        let mut commands = Self { bytes: Vec::with_capacity(length), count: 0 };
        commands.add(parts);
        commands
    }

    pub(super) fn add(&mut self, parts: &[&[u8]]) {
        self.begin(parts.len());
        parts.iter().for_each(|part| self.part(part));
    }

    /// Starts a command of this many parts, which must follow.
    pub(super) fn begin(&mut self, parts: usize) {
        self.count += 1;
        self.line(b'*', parts);
    }

    pub(super) fn part(&mut self, part: &[u8]) {
        self.line(b'$', part.len());
        self.bytes.extend_from_slice(part);
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn line(&mut self, sign: u8, number: usize) {
        // Enough for the digits of the largest number.
        let mut digits = [0_u8; 20];
        let (mut at, mut rest) = (digits.len(), number);
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.bytes.push(sign);
        self.bytes.extend_from_slice(&digits[at..]);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Appends the commands of `other`.
    pub(super) fn append(&mut self, other: &Self) {
        self.bytes.extend_from_slice(&other.bytes);
        self.count += other.count;
    }

    /// Wraps the commands in a transaction, whose last reply is the array of their replies.
    pub(super) fn atomic(&self) -> Self {
        let mut commands = Self::one(&[b"MULTI"]);
        commands.append(self);
        commands.add(&[b"EXEC"]);
        commands
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number of commands, and so of replies.
    pub(super) fn count(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_encoded_as_resp_arrays() {
        let mut commands = Commands::one(&[b"GET", b""]);
        commands.add(&[b"SET", b"a\r\nb", &[b'x'; 12]]);
        assert_eq!(commands.count(), 2);
        let expected = "*2\r\n$3\r\nGET\r\n$0\r\n\r\n*3\r\n$3\r\nSET\r\n$4\r\na\r\nb\r\n$12\r\nxxxxxxxxxxxx\r\n";
        assert_eq!(commands.bytes(), expected.as_bytes());
    }
}
