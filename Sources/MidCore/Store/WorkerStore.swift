/// Who asks for a worker id.
public struct WorkerOwner: Sendable, Hashable {
  /// A random token, made once per data folder. Two owners never share one.
  public var token: String
  /// For people: host name and process id.
  public var description: String

  /// Creates an owner.
  public init(token: String, description: String) {
    self.token = token
    self.description = description
  }
}

/// One worker id's row in the store. Times are milliseconds since the Unix epoch.
public struct WorkerRecord: Sendable, Hashable {
  /// The worker number, 0 or more; all worker bits of the layout as one number.
  public var worker: Int64
  /// Who holds it, or held it last.
  public var owner: WorkerOwner
  /// Counts the changes of ownership; a holder with an older term has lost it.
  public var term: Int64
  /// When the lease ends, by the store's clock; ``givenBack``, or ``freed``.
  public var expiresAt: Int64
  /// The first millisecond that no id issued under this row has reached or will reach. Where the row was ``givenBack``,
  /// the newest id lies just before it; otherwise the bound was stored ahead of the ids, for as long as the lease.
  public var bound: Int64

  /// The ``expiresAt`` of a row that its holder gave back, with the exact bound: 0.
  public static let givenBack: Int64 = 0
  /// The ``expiresAt`` of a row that an operator freed, with the bound that stood there: -1.
  public static let freed: Int64 = -1

  /// Creates a record.
  public init(worker: Int64, owner: WorkerOwner, term: Int64, expiresAt: Int64, bound: Int64) {
    self.worker = worker
    self.owner = owner
    self.term = term
    self.expiresAt = expiresAt
    self.bound = bound
  }
}

/// What a successful change of a worker id's row says: a claim, a renewal, or its freeing.
public struct WorkerClaim: Sendable, Hashable {
  /// The row as it stands now.
  public var current: WorkerRecord
  /// The row as it stood before, or nil where there was none.
  public var previous: WorkerRecord?
  /// The store's own clock while it served the claim, in milliseconds since the Unix epoch.
  public var storeTime: Int64

  /// Creates a claim.
  public init(current: WorkerRecord, previous: WorkerRecord?, storeTime: Int64) {
    self.current = current
    self.previous = previous
    self.storeTime = storeTime
  }
}

/// All worker rows of a store at one moment.
public struct WorkerList: Sendable, Hashable {
  /// The rows, in order of worker number.
  public var records: [WorkerRecord]
  /// The store's own clock while it read them, in milliseconds since the Unix epoch.
  public var storeTime: Int64

  /// Creates a list.
  public init(records: [WorkerRecord], storeTime: Int64) {
    self.records = records
    self.storeTime = storeTime
  }
}

/// Where worker ids and their time bounds are kept, so that two holders of one id are found out and a later holder
/// never reissues an earlier one's ids.
///
/// Expiry is judged by the store's clock. Every change is one durable transaction. Errors are as for ``SegmentStore``,
/// and ``IDError/Code/leaseLost`` where somebody else holds the row, with a message that names holder and end.
public protocol WorkerStore: Sendable {
  /// Takes worker `worker` for `owner`: where the row is absent, expired, given back, or held by the same token.
  ///
  /// Raises the term by one, sets the expiry to the store's time plus `leaseMilliseconds`, and the bound to the larger
  /// of the stored one and `bound`.
  func claimWorker(
    _ worker: Int64, owner: WorkerOwner, leaseMilliseconds: Int64, bound: Int64
  ) async throws(IDError) -> WorkerClaim

  /// Extends a held row: expiry to the store's time plus `leaseMilliseconds`, bound to the larger of both.
  ///
  /// - Throws: ``IDError/Code/leaseLost`` when token or term are no longer the row's.
  func renewWorker(
    _ worker: Int64, token: String, term: Int64, leaseMilliseconds: Int64, bound: Int64
  ) async throws(IDError) -> WorkerClaim

  /// Gives a held row back and stores the exact bound, which may be lower than the stored one: its holder knows best.
  ///
  /// - Throws: ``IDError/Code/leaseLost`` when token or term are no longer the row's.
  func releaseWorker(_ worker: Int64, token: String, term: Int64, bound: Int64) async throws(IDError)

  /// Makes a row free for whoever claims it next, for an operator whose holder can't give it back: a compare-and-set on
  /// the term. A row that is given back or freed already stays as it is.
  ///
  /// The bound stays too, raised by renewals up to this very moment: the next holder issues from there on, and the one
  /// before never gets there. So no id repeats, also where that one is alive and does not know yet; its next renewal or
  /// release fails with ``IDError/Code/leaseLost``, and until then it goes on issuing below the bound.
  ///
  /// - Parameters:
  ///   - worker: Whose row.
  ///   - term: The term that the row must have, so that nobody is freed who came after the operator looked.
  ///   - force: Whether a lease that has not ended is freed too.
  /// - Returns: The row as it stands now and as it stood before, which is never nil.
  /// - Throws: ``IDError/Code/leaseLost`` where the lease runs and `force` is not set, where the row has another term, or
  ///   where there is no such row.
  func freeWorker(_ worker: Int64, ifTerm term: Int64, force: Bool) async throws(IDError) -> WorkerClaim

  /// All rows, in order of worker number, and the store's time.
  func workers() async throws(IDError) -> WorkerList
}

/// A store of both kinds, as every backend is, with what its start and end need.
public protocol IDStore: SegmentStore, WorkerStore, OpenableStore {
  /// What the store is, for logs and metrics: `sqlite`, `mysql`, `memory`.
  var kind: String { get }
  /// Whether several machines can share it.
  var isShared: Bool { get }

  /// Connects and checks like ``OpenableStore/prepare()``, and creates and changes nothing: for a look from outside, before or beside
  /// the servers. Once it has returned an empty list, ``SegmentStore/tags()`` and ``WorkerStore/workers()`` can be called.
  ///
  /// - Returns: What ``OpenableStore/prepare()`` would create, for people: `the table mid_workers`.
  /// - Throws: The same as ``OpenableStore/prepare()``.
  func inspect() async throws(IDError) -> [String]
  /// Asks whether commits wait for a replica to have them: without it, a failover takes back what was committed last, and
  /// ids repeat. A server may stop waiting by itself, without a word, once its replicas are too slow.
  ///
  /// - Returns: `nil` where the store knows nothing of the kind.
  func semiSync() async throws(IDError) -> Bool?
}

extension IDStore {
  /// None.
  public var durabilityWarnings: [String] { [] }

  /// Nothing of the kind.
  public func semiSync() async throws(IDError) -> Bool? { nil }
}
