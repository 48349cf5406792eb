public import MidCore

/// Tickets of one database of MySQL or MariaDB, as Flickr's ticket servers have them: `REPLACE INTO Tickets64 (stub)
/// VALUES ('a')`, whose auto-increment number is the ticket.
///
/// One statement in one round trip, committed by itself. A batch is one statement of as many rows, whose numbers the
/// server reserves together, an increment apart. Whoever else works on the table by `REPLACE` gets other numbers. What
/// the server took back by itself (a deadlock) is sent again; nothing else is sent twice.
///
/// How several servers share the numbers out is ``MySQLConfiguration/autoIncrement``; where that is nil, the server's own
/// setting counts. A table that is missing is made by the first call for it; that needs the right `CREATE`, the rest
/// `INSERT` and `DELETE` and none besides.
public final class MySQLTicketStore: TicketStore {
  /// Host, port and database.
  public var location: String { self.store.location }

  private let store: MySQLStore
  private let hasOwnCounting: Bool

  /// Describes a database. Nothing is connected before the first call.
  ///
  /// - Parameter observer: Is told of the operations `take_tickets` and `inspect_tickets`.
  public init(_ configuration: MySQLConfiguration, observer: MySQLStore.Observer? = nil) {
    self.hasOwnCounting = configuration.autoIncrement != nil
    self.store = MySQLStore(configuration, observer: observer)
  }

  /// Takes the next `count` tickets of `table`, 1 to 1,000. What a row costs grows with their number: see `docs/decisions/0010-tickets.md`.
  public func takeTickets(_ count: Int64, of table: TicketTable) async throws(IDError) -> IDRange {
    guard (1...1_000).contains(count) else {
      throw IDError(.invalidArgument, "a statement takes 1 to 1000 tickets, not \(count)")
    }
    let hasOwnCounting = self.hasOwnCounting
    let location = self.location
    return try await self.store.run("take_tickets") { connection in
      // A server's own counting may be changed by its administrator; one number at a time needs no increment.
      let counting =
        hasOwnCounting || count == 1 ? connection.counting : try connection.readCounting()
      let first = try Self.replace(count, table, connection)
      return try Self.range(
        first, count, counting: counting, isChecked: hasOwnCounting, of: "\(table) at \(location)")
    }
  }

  /// Looks whether the tables are there, at their engine (Flickr's were MyISAM's, which a crash may damage) and at the
  /// server's settings. Needs no right besides those that tickets need.
  public func inspect(_ tables: [TicketTable]) async throws(IDError) -> TicketInspection {
    try await self.store.run("inspect_tickets") { connection in
      guard let found = try MySQLSchema.durability(connection, of: tables.map(\.name)) else {
        return TicketInspection()
      }
      // Servers on case-insensitive file systems keep names in lower case.
      let present = Set(found.present.map { $0.lowercased() })
      return TicketInspection(
        missing: tables.filter { !present.contains($0.name.lowercased()) }, warnings: found.warnings)
    }
  }

  /// Ends all connections.
  public func close() async { await self.store.close() }

  private static func replace(_ count: Int64, _ table: TicketTable, _ connection: MySQLConnection) throws -> UInt64 {
    let rows = Array(repeating: "('a')", count: Int(count)).joined(separator: ",")
    let sql = "REPLACE INTO `\(table)` (stub) VALUES \(rows)"
    do {
      return try connection.execute(sql).insertID
    } catch let failure as MySQLFailure where failure.isMissingTable {
      try connection.execute(self.creation(of: table))
      return try connection.execute(sql).insertID
    } catch let failure as MySQLFailure where failure.isMissingRight {
      throw IDError(
        .storeRejected,
        "a right is missing; GRANT INSERT, DELETE on the table \(table) to this user, and CREATE where it is not there: "
          + failure.message)
    } catch let failure as MySQLFailure where failure.isUsedUp {
      throw IDError(.exhausted, "the table \(table) has no numbers left: \(failure.message)")
    }
  }

  static func range(
    _ first: UInt64, _ count: Int64, counting: MySQLConfiguration.AutoIncrement, isChecked: Bool, of place: String
  ) throws(IDError) -> IDRange {
    let stride = Int64(counting.increment)
    // A half-open range's end has to fit as well.
    guard let start = Int64(exactly: first), start <= Int64.max - count * stride else {
      throw IDError(.exhausted, "the table \(place) stands at \(first): its tickets no longer fit in 63 bits")
    }
    guard start >= 1 else { throw IDError(.storeRejected, "the table \(place) gave no number; is id AUTO_INCREMENT?") }
    guard !isChecked || start % stride == Int64(counting.offset) % stride else {
      throw IDError(
        .storeRejected, "the table \(place) gave \(start), which is not in steps of \(stride) from \(counting.offset)")
    }
    return IDRange(start: start, count: count, stride: stride)
  }

  /// As Flickr had it, in an engine whose commits survive a crash.
  private static func creation(of table: TicketTable) -> String {
    """
    CREATE TABLE IF NOT EXISTS `\(table)` (
      id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
      stub CHAR(1) NOT NULL DEFAULT '',
      PRIMARY KEY (id),
      UNIQUE KEY stub (stub)
    ) ENGINE = InnoDB DEFAULT CHARACTER SET ascii
    """
  }
}

extension MySQLFailure {
  /// The user lacks a right.
  fileprivate var isMissingRight: Bool { [1044, 1142, 1143, 1227].contains(self.code) }

  /// The auto-increment counter stands at its largest number.
  fileprivate var isUsedUp: Bool { self.code == 167 || self.code == 1467 }
}
