package import MidCore
import Synchronization

/// Lets opaque numbers be made, or not. Safe to use from any thread; costs one read of a flag where all may be made.
package final class OpaqueGate: Sendable {
  private let isOpen: Atomic<Bool>
  private let agreement: Mutex<OpaqueAgreement>

  /// Begins with what was remembered.
  package init(_ agreement: OpaqueAgreement) {
    self.isOpen = Atomic(agreement.isComplete)
    self.agreement = Mutex(agreement)
  }

  /// Whether all numbers can be made.
  package var isReady: Bool { self.isOpen.load(ordering: .acquiring) }

  /// Why not all can be made; nothing where they can.
  package var obstacles: [String] { self.agreement.withLock { $0.obstacles } }

  /// Whether none will be made any more.
  package var isRefused: Bool { self.agreement.withLock { $0.isRefused } }

  /// What the store is to agree on.
  package var facts: [String: String] { self.agreement.withLock { $0.facts } }

  /// Checks that numbers of `tag` can be made now.
  ///
  /// - Throws: ``MidCore/IDError/Code/notReady`` where not.
  package func check(_ tag: Tag) throws(IDError) {
    guard !self.isReady else { return }
    if let obstacle = self.agreement.withLock({ $0.obstacle(of: tag) }) { throw obstacle }
  }

  /// The store has said what is there.
  package func answered(_ found: [String: String]) -> OpaqueAgreement.Outcome {
    self.agreement.withLock { agreement in
      let outcome = agreement.answered(found)
      // Within the lock, so that of two answers the last one's flag stays.
      self.isOpen.store(agreement.isComplete, ordering: .releasing)
      return outcome
    }
  }
}
