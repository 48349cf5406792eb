import MidCore
import Testing

@Suite("The choice of a stripe") struct StripeChoiceTests {
  private var choice = StripeChoice(count: 3)
  private let all = [true, true, true]

  @Test mutating func `a tag begins anywhere, and goes round`() {
    for random in 0..<6 {
      var choice = StripeChoice(count: 3)
      let begin = random % 3
      let order = choice.order(for: .default, isOpen: self.all, isUp: self.all, random: random)
      #expect(order == [begin, (begin + 1) % 3, (begin + 2) % 3])
    }
  }

  @Test mutating func `it stays with whoever served it`() {
    _ = self.choice.order(for: .default, isOpen: self.all, isUp: self.all, random: 0)
    self.choice.served(.default, by: 2)
    #expect(self.choice.order(for: .default, isOpen: self.all, isUp: self.all, random: 1) == [2, 0, 1])
  }

  @Test mutating func `what is down comes last, what is not open never`() {
    #expect(
      self.choice.order(for: .default, isOpen: self.all, isUp: [false, true, false], random: 0) == [1, 0, 2])
    #expect(
      self.choice.order(for: .default, isOpen: [false, true, true], isUp: [false, false, true], random: 0) == [2, 1])
    #expect(
      self.choice.order(for: .default, isOpen: [false, false, false], isUp: [false, false, false], random: 0) == [])
  }

  @Test mutating func `a row that went backwards is left out for its tag alone, until an operator has looked`() throws {
    let error = IDError(.wentBackwards, "lost")
    self.choice.refuse(.default, of: 1, because: error)
    #expect(self.choice.order(for: .default, isOpen: self.all, isUp: self.all, random: 1) == [2, 0])
    #expect(self.choice.order(for: try MidCore.Tag("other"), isOpen: self.all, isUp: self.all, random: 1) == [1, 2, 0])
    #expect(self.choice.refusals(of: .default).map(\.error) == [error])
    self.choice.confirm()
    #expect(self.choice.order(for: .default, isOpen: self.all, isUp: self.all, random: 1) == [1, 2, 0])
  }
}
