/// Which requests of one HTTP connection have their answers still to come, and when a request that is refused may be
/// answered: after those before it, since a client takes answers in the order of its requests. Rules without a channel.
struct HTTPAnswerOrder: Sendable {
  /// What a refusal comes to.
  enum Refusal: Sendable, Equatable {
    /// Answer it.
    case answer
    /// Only end the connection: the request has its answer already.
    case close
    /// Wait for ``responseEnded()`` to say so.
    case wait
  }

  /// How many requests were passed on and have no whole answer yet.
  private(set) var open = 0
  /// Whether an answer has begun.
  private var isAnswering = false
  /// How many answers may be open once the refused request's turn has come; nil where none was refused.
  private var turn: Int?

  /// Whether every request that was passed on has its whole answer.
  var isDone: Bool { self.open == 0 && !self.isAnswering }

  /// Whether the answer of the request that was passed on last is the next one to begin.
  var isLastNext: Bool { self.open == 1 && !self.isAnswering }

  /// A request's head was passed on.
  mutating func requestBegan() { self.open += 1 }

  /// An answer's head is written.
  mutating func responseBegan() { self.isAnswering = true }

  /// A request is refused: no other is passed on after it.
  ///
  /// - Parameter isOpen: Whether its head was passed on, as it is the body that is too long.
  mutating func refuse(isOpen: Bool) -> Refusal {
    // In order: where none is open, this one has been answered while its body still came.
    guard !isOpen || self.open > 0 else { return .close }
    self.turn = isOpen ? 1 : 0
    return self.isTurn ? .answer : .wait
  }

  /// An answer's end is written. What becomes of a request that was refused, nil where none was or its turn is still to come.
  mutating func responseEnded() -> Refusal? {
    self.open -= 1
    self.isAnswering = false
    guard let turn = self.turn else { return nil }
    if self.open < turn { return .close }
    return self.isTurn ? .answer : nil
  }

  private var isTurn: Bool { self.open == self.turn && !self.isAnswering }
}
