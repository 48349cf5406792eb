extension MemoryStore {
  public func facts() async throws(IDError) -> [String: String] {
    try self.transaction { state throws(IDError) in state.facts }
  }

  public func agree(on facts: [String: String]) async throws(IDError) -> [String: String] {
    try Facts.validate(facts)
    return try self.transaction { state throws(IDError) in
      state.facts.merge(Facts.additions(of: facts, to: state.facts) ?? [:]) { found, _ in found }
      return state.facts.filter { facts[$0.key] != nil }
    }
  }
}
