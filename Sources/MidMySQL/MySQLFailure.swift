import CMariaDB

/// A failure as the client library reports it, before it is the store's.
struct MySQLFailure: Error {
  /// The number: 2000 and up from the client library, others from the server.
  var code: UInt32
  /// The library's or server's text, in one line.
  var message: String

  init(code: UInt32, message: String) {
    self.code = code
    self.message = message.split(whereSeparator: \.isNewline).joined(separator: " ")
    // What a server refuses before TLS is agreed on (its connections are used up, our host is not allowed), the library
    // wraps as `… TLS handshake. … cannot be verified: 1040 - Too many connections`.
    guard code == UInt32(CR_CONNECTION_ERROR), self.message.contains("TLS handshake"),
      let mark = self.message.lastIndex(of: ":")
    else { return }
    let inner = self.message[self.message.index(after: mark)...].split(separator: " ", maxSplits: 2)
    if inner.count == 3, inner[1] == "-", let number = UInt32(inner[0]) {
      self.code = number
      self.message = String(inner[2])
    }
  }

  /// The server took the statement back, and nothing of it is committed: deadlock, lock wait, a newer row version, or a
  /// write conflict of TiDB's. Trying again is safe and helps.
  var isTransient: Bool {
    [UInt32(ER_LOCK_DEADLOCK), UInt32(ER_LOCK_WAIT_TIMEOUT), UInt32(ER_CHECKREAD), 9007].contains(self.code)
  }

  /// A row of that key is there already.
  var isDuplicate: Bool { self.code == UInt32(ER_DUP_ENTRY) }

  /// A number does not fit its column.
  var isOutOfRange: Bool { self.code == UInt32(ER_WARN_DATA_OUT_OF_RANGE) }

  /// The column's character set has no form of the name that was looked for, so no row can be of that name.
  var isOutsideCharacterSet: Bool { self.code == UInt32(ER_CANT_AGGREGATE_2COLLATIONS) }

  /// The table is not there.
  var isMissingTable: Bool { self.code == UInt32(ER_NO_SUCH_TABLE) }

  /// The connection is not to be used again: it is lost, or the server behind it can't serve us and another might.
  var endsConnection: Bool {
    (2000..<3000).contains(self.code) || (5000..<6000).contains(self.code)
      || MySQLErrors.unavailable.contains(self.code) || MySQLErrors.readOnly.contains(self.code)
  }
}

extension MySQLFailure {
  /// Two nodes wrote the same new row, and the other was first: to be tried again like a deadlock.
  static func lostRace(_ message: String) -> MySQLFailure {
    MySQLFailure(code: UInt32(ER_LOCK_DEADLOCK), message: message)
  }
}
