import MidCore
import MidServer

/// One database of the old system. Only read.
struct ImportSource {
  var location: StoreLocation
  var dialect: TableDialect
  var store: any IDStore
}

/// An import from the databases of an old system into one store.
struct ImportRun {
  var sources: [ImportSource]
  /// The tags to import; empty for all.
  var only: Set<Tag>
  /// How many numbers are left out above the source's last, 0 or more.
  var margin: Int64

  /// Makes the plan, and changes nothing.
  func plan(for target: any IDStore, _ dialect: TableDialect) async throws -> ImportPlan {
    let missing = try await Self.failing { () throws(IDError) in try await target.inspect() }
    let isNew = missing.contains { $0.hasPrefix("the file") || $0 == "the table \(dialect.table)" }
    // What a store of ours begins with.
    let start = [TagRecord(tag: .default, maxID: 0, step: 10_000)]
    let tags = isNew ? start : try await Self.failing { () throws(IDError) in try await target.tags() }
    return try ImportPlan(sources: try await self.read(), target: tags, only: self.only, margin: self.margin)
  }

  /// Makes the plan, writes it, a transaction for each tag, and proves it by another look at both sides.
  ///
  /// - Throws: ``CommandFailure``. What was written till then stands, and is right: a tag only ever moves forward.
  func carryOut(on target: any IDStore, _ dialect: TableDialect) async throws -> ImportPlan {
    let rows = try await self.read()
    let before = try await Self.failing { () throws(IDError) in
      try await target.prepare()
      return try await target.tags()
    }
    let plan = try ImportPlan(sources: rows, target: before, only: self.only, margin: self.margin)
    for line in plan.lines {
      try await Self.failing { () throws(IDError) in try await Self.write(line, to: target) }
    }
    let after = try await Self.failing { () throws(IDError) in try await target.tags() }
    let doubts = plan.doubts(sources: try await self.read(), target: after, isWhole: self.only.isEmpty)
    guard doubts.isEmpty else {
      throw CommandFailure(
        "imported, but it is not proven: \(doubts.joined(separator: "; ")); stop the old system, and import again before "
          + "the new one issues")
    }
    return plan
  }

  private static func write(_ line: ImportPlan.Line, to target: any IDStore) async throws(IDError) {
    guard line.action != .leave else { return }
    if line.action == .create {
      do throws(IDError) {
        _ = try await target.createTag(line.tag, step: line.step, first: line.first)
        return
      } catch {
        // Created by somebody else since; the transaction below says how it stands.
        guard error.code == .tagExists else { throw error }
      }
    }
    do throws(IDError) {
      _ = try await target.updateTag(line.tag, step: nil, next: line.first)
    } catch {
      // It stands higher by now, which is as good.
      guard error.code == .wentBackwards else { throw error }
    }
  }

  /// The rows of all sources. Their tables are neither prepared nor tried for rights: reading has to be enough.
  private func read() async throws -> [[TagRecord]] {
    var rows: [[TagRecord]] = []
    for source in self.sources {
      rows.append(
        try await Self.failing { () throws(IDError) in
          if case .sqlite = source.location {
            let missing = try await source.store.inspect().filter { !$0.contains("mid_workers") }
            guard missing.isEmpty else {
              throw IDError(.storeRejected, "the source lacks \(missing.joined(separator: " and "))")
            }
          }
          return try await source.store.tags()
        })
    }
    return rows
  }

  /// Closes the sources.
  func close() async {
    for source in self.sources { await source.store.close() }
  }

  private static func failing<Value: Sendable>(
    _ body: () async throws(IDError) -> Value
  ) async throws(CommandFailure) -> Value {
    do throws(IDError) { return try await body() } catch { throw CommandFailure(error.description) }
  }
}
