/// What every store's start and end need, of one database or several.
public protocol OpenableStore: Sendable {
  /// Where the store is, for logs: a path or host, port and database. Holds no secret.
  var location: String { get }

  /// What an operator should know of the store's set-up, found by ``prepare()``: commits that a power cut could take
  /// back.
  var durabilityWarnings: [String] { get }

  /// Connects, checks, and creates the tables that are missing. May be called again after a failure.
  func prepare() async throws(IDError)

  /// Closes connections and files. Calls after this fail with ``IDError/Code/storeUnavailable``.
  func close() async
}

/// A database of segments that can be one of several.
public typealias SegmentDatabaseStore = IDStore & StripeStore & TokenStore

/// Segments that several databases keep together.
public protocol CompositeStore: SegmentStore, TokenStore, OpenableStore {
  /// The databases, and which of them answer.
  var databases: SegmentDatabases { get }

  /// An operator says that the rows are right now: databases that were left out because a row went backwards are asked
  /// again.
  func confirm()

  /// For how many tags each database is left out, in their order, because a row went backwards.
  var leftOut: [Int] { get }

  /// Whether `tag` is out of reach only because its database is, while others serve.
  func isAway(_ tag: Tag) -> Bool

  /// Which database unused ids of `tag` with that residue go back to: its place in ``databases``, or nil where none takes them.
  ///
  /// Answered from what the store knows, without a look at any database.
  func database(of tag: Tag, _ residue: TableDialect.Residue) -> Int?
}

extension CompositeStore {
  /// Where all of them are.
  public var location: String { self.databases.names.joined(separator: ", ") }

  /// None: what is to be said of a database is in its ``SegmentDatabases/Status``, whenever it was opened.
  public var durabilityWarnings: [String] { [] }

  /// Opens all databases, and returns once all have answered, or one has and the others take long.
  ///
  /// - Throws: What the first of them says that has to be mended by an operator, or ``IDError/Code/storeUnavailable``,
  ///   where not one could be opened.
  public func prepare() async throws(IDError) { try await self.databases.prepare() }

  /// Waits for what is under way, and closes all databases.
  public func close() async { await self.databases.close() }

  /// The tokens of all databases together, each once: one that a single database holds is good for its tag, wherever the
  /// tag's ids come from. Of a database that can't be asked, those that it had when it was read last.
  ///
  /// - Throws: Where not one was ever read: ``IDError/Code/storeRejected`` where no database has the table or lets it be
  ///   read, ``IDError/Code/storeUnavailable`` where one may have it.
  public func clientTokens() async throws(IDError) -> [ClientToken] { try await self.databases.clientTokens() }

  /// Whether commits of all databases that answer wait for a replica; see ``IDStore/semiSync()``.
  public func semiSync() async throws(IDError) -> Bool? { try await self.databases.semiSync() }
}
