/// Which of several databases a tag's next load is taken from: rules without a database, clock or lock.
///
/// A tag stays with the database that served it last, so that a node's ids come from few rows; it begins at a random one,
/// so that nodes and tags spread. A load that fails goes on to the next, in the order of the list and round its end.
/// Databases that are up come first; those that are down are a last resort, since one may be back unnoticed. A database
/// whose row of a tag went backwards is left out for that tag until an operator has looked.
public struct StripeChoice: Sendable {
  private let count: Int
  private var homes: [Tag: Int] = [:]
  private var refused: [Tag: [Int: IDError]] = [:]

  /// Creates a choice among `count` databases, 1 or more.
  public init(count: Int) {
    precondition(count >= 1, "there is a database to choose")
    self.count = count
  }

  /// The databases to ask for ids of `tag`, the first one first; empty where none may be asked.
  ///
  /// - Parameters:
  ///   - tag: Whose ids are asked for.
  ///   - isOpen: Which databases can be asked at all.
  ///   - isUp: Which of them did not fail lately.
  ///   - random: Where a tag that was never served begins, 0 or more.
  public mutating func order(for tag: Tag, isOpen: [Bool], isUp: [Bool], random: Int) -> [Int] {
    precondition(isOpen.count == self.count && isUp.count == self.count && random >= 0)
    let home = self.homes[tag] ?? random % self.count
    self.homes[tag] = home
    let refused = self.refused[tag] ?? [:]
    let usable = (0..<self.count).map { (home + $0) % self.count }.filter { isOpen[$0] && refused[$0] == nil }
    return usable.filter { isUp[$0] } + usable.filter { !isUp[$0] }
  }

  /// `database` has served `tag`, which stays with it.
  public mutating func served(_ tag: Tag, by database: Int) { self.homes[tag] = database }

  /// `database` has lost commits of `tag`: it is left out until ``confirm()``.
  ///
  /// - Returns: Whether it was not left out so far.
  @discardableResult
  public mutating func refuse(_ tag: Tag, of database: Int, because error: IDError) -> Bool {
    self.refused[tag, default: [:]].updateValue(error, forKey: database) == nil
  }

  /// For how many tags each database is left out, in their order.
  public var leftOut: [Int] {
    self.refused.values.reduce(into: Array(repeating: 0, count: self.count)) { counts, databases in
      for database in databases.keys { counts[database] += 1 }
    }
  }

  /// Why databases are left out for `tag`, in their order.
  public func refusals(of tag: Tag) -> [(database: Int, error: IDError)] {
    (self.refused[tag] ?? [:]).sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }

  /// An operator says that the rows are right now.
  public mutating func confirm() { self.refused = [:] }
}
