internal import Synchronization

extension SegmentDatabases {
  /// The tokens of all databases; see ``CompositeStore/clientTokens()``.
  func clientTokens() async throws(IDError) -> [ClientToken] {
    let state = self.state
    let open = state.indices.filter { state[$0].isOpen }
    let up = open.filter { state[$0].isUp }
    let results = await self.each(of: up.isEmpty ? open : up) { index throws(IDError) in
      try await self.readTokens(index)
    }
    let known = self.state.compactMap(\.tokens)
    guard known.isEmpty else { return Array(Set(known.joined())) }
    var rejected: [String] = []
    for (index, database) in self.all.enumerated() {
      // One that was not asked, or is late, may have the table.
      guard case .failure(let error) = results[index], error.code == .storeRejected else { throw self.unreachable }
      rejected.append("\(database.name): \(error.message)")
    }
    throw IDError(.storeRejected, rejected.joined(separator: "; "))
  }

  private func readTokens(_ index: Int) async throws(IDError) {
    do throws(IDError) {
      let tokens = try await self.all[index].store.clientTokens()
      self.members.withLock { $0[index].tokens = tokens }
      self.answered(index)
    } catch {
      // A database without the table serves segments all the same.
      if error.code == .storeUnavailable { self.failed(index, error) }
      if error.code == .storeRejected { self.members.withLock { $0[index].tokens = nil } }
      throw error
    }
  }
}
