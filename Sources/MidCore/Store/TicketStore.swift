/// The name of a table of tickets: 1 to 64 ASCII letters, digits, `_` or `$`, none of which needs quoting in SQL.
public struct TicketTable: Sendable, Hashable, CustomStringConvertible {
  /// `Tickets64`, as Flickr's servers have it.
  public static let `default` = TicketTable(unchecked: "Tickets64")

  /// The name itself.
  public let name: String

  private init(unchecked name: String) { self.name = name }

  /// Checks and takes a name.
  ///
  /// - Throws: ``IDError/Code/invalidArgument`` where the name has another form.
  public init(_ name: String) throws(IDError) {
    let isSpelledRight = name.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "$"):
        true
      default: false
      }
    }
    guard (1...64).contains(name.utf8.count), isSpelledRight, name.utf8.contains(where: { $0 > UInt8(ascii: "9") })
    else {
      throw IDError(
        .invalidArgument, "a table's name has 1 to 64 of a-z, A-Z, 0-9, _ and $, not only digits; this one has not")
    }
    self.name = name
  }

  /// The name.
  public var description: String { self.name }
}

/// What a look at a database of tickets has found.
public struct TicketInspection: Sendable, Hashable {
  /// The tables that are not there; the first ticket of each makes it.
  public var missing: [TicketTable]
  /// What about the database lets a crash take back commits, one sentence each, with what to do after its last semicolon.
  public var warnings: [String]

  /// Creates what a look has found; without arguments, nothing worth a word.
  public init(missing: [TicketTable] = [], warnings: [String] = []) {
    self.missing = missing
    self.warnings = warnings
  }
}

/// A database that hands out tickets: numbers that its table counts, one committed statement each.
///
/// Every store keeps these promises; one contract test is run against them all:
/// - Tickets that were returned are committed durably and are given to no other caller, also not to a client that works
///   on the same table by `REPLACE INTO` itself.
/// - Tickets of one table grow: a call that began after another had ended gets larger ones, whoever made either.
/// - Where the outcome of a commit is unknown (a lost connection), the call throws and the tickets count as taken.
/// - Calls never block the caller's thread on I/O, may run side by side, and end within the store's timeout.
/// - A table that is missing is made by the first call for it; one that is there is used as it is and never altered.
///
/// Errors: ``IDError/Code/exhausted``, ``IDError/Code/storeUnavailable`` (worth a retry),
/// ``IDError/Code/storeRejected`` (not worth one), ``IDError/Code/invalidArgument`` for a count below 1.
public protocol TicketStore: Sendable {
  /// Where the database is, for logs: a path or host, port and database. Holds no secret.
  var location: String { get }

  /// Takes the next `count` tickets (1 or more) of `table` in one committed statement.
  ///
  /// - Returns: Exactly `count` tickets of at least 1, as far apart as the database counts: its increment.
  func takeTickets(_ count: Int64, of table: TicketTable) async throws(IDError) -> IDRange

  /// Connects and looks at `tables`; creates and changes nothing.
  func inspect(_ tables: [TicketTable]) async throws(IDError) -> TicketInspection

  /// Closes connections and files. Calls after this fail with ``IDError/Code/storeUnavailable``.
  func close() async
}
