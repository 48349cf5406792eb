extension TextForm {
  /// Reads a text of this form.
  ///
  /// - Throws: ``IDError/Code/invalidArgument``, saying what is wrong and where.
  public func parse(_ text: String) throws(IDError) -> Parsed {
    let characters = Array(text.utf8)
    // As long as the widest number and all that is not the number, with room for hyphens.
    guard characters.count <= 512 else {
      throw IDError(.invalidArgument, "the text has \(characters.count) characters, far too many")
    }
    guard characters.starts(with: self.prefix.utf8) else {
      throw IDError(.invalidArgument, "the text does not begin with the prefix '\(self.prefix)'")
    }
    var rest = characters.dropFirst(self.prefix.utf8.count)
    var start: Int64?
    if let date = self.date {
      start = try Self.start(of: rest.prefix(date.length), date, after: rest.startIndex)
      rest = rest.dropFirst(date.length)
      guard rest.starts(with: self.separator.utf8) else {
        throw IDError(.invalidArgument, "the separator '\(self.separator)' does not follow the date")
      }
      rest = rest.dropFirst(self.separator.utf8.count)
    }
    return Parsed(number: try self.number(of: rest), startMilliseconds: start)
  }

  private func number(of text: ArraySlice<UInt8>) throws(IDError) -> UInt128 {
    var digits = text
    var check: UInt8?
    if self.hasCheck { check = digits.popLast() }
    let first = digits.startIndex
    let number: UInt128
    var count = digits.count
    if self.base == .crockford, !digits.allSatisfy({ self.base.value(of: $0) != nil }) {
      let plain = try Self.crockfordDigits(of: digits)
      count = plain.count
      number = try self.base.number(of: plain, after: first, bits: self.bits)
    } else {
      number = try self.base.number(of: digits, after: first, bits: self.bits)
    }
    // One text for each number: no zero too many, and none too few.
    let expected = Swift.max(self.width, self.base.significantDigits(of: number))
    guard count == expected else {
      throw IDError(
        .invalidArgument, "there are \(count) \(self.base) digits; this number is written in \(expected)")
    }
    guard self.hasCheck else { return number }
    let right = Self.checkCharacters[Int(number % 37)]
    guard let check, ASCII.lowercased(Self.crockfordDigit(check)) == ASCII.lowercased(right) else {
      throw IDError(
        .invalidArgument,
        "the check character is \(check.map(ASCII.shown) ?? "missing"), but the digits have another one: mistyped?")
    }
    return number
  }

  /// What Crockford lets people write, in his digits: hyphens left out, I and L as 1, O as 0.
  private static func crockfordDigits(of text: ArraySlice<UInt8>) throws(IDError) -> [UInt8] {
    var digits: [UInt8] = []
    for (index, character) in zip(text.indices, text) {
      if character == UInt8(ascii: "-") { continue }
      let digit = Self.crockfordDigit(character)
      guard TextBase.crockford.value(of: digit) != nil else {
        throw IDError(
          .invalidArgument, "character \(index + 1) is \(ASCII.shown(character)), no \(TextBase.crockford) digit")
      }
      digits.append(digit)
    }
    return digits
  }

  /// The digit that a letter is read as which looks like it: I and L as 1, O as 0. Of the check character, too.
  private static func crockfordDigit(_ character: UInt8) -> UInt8 {
    switch ASCII.lowercased(character) {
    case UInt8(ascii: "i"), UInt8(ascii: "l"): UInt8(ascii: "1")
    case UInt8(ascii: "o"): UInt8(ascii: "0")
    default: character
    }
  }

  private static func start(
    of text: ArraySlice<UInt8>, _ form: DateForm, after first: Int
  ) throws(IDError) -> Int64 {
    guard text.count == form.length, text.allSatisfy({ (0x30...0x39).contains($0) }) else {
      throw IDError(
        .invalidArgument, "after \(first) characters there is no date of \(form.length) digits (\(form) in UTC)")
    }
    let number = text.reduce(Int64(0)) { $0 * 10 + Int64($1 - 0x30) }
    let (year, month, day) =
      form == .day ? (number / 10_000, number / 100 % 100, number % 100) : (number / 100, number % 100, 1)
    guard Self.years.contains(year), let start = WallTime(year: year, month: month, day: day) else {
      let digits = String(decoding: text, as: UTF8.self)
      throw IDError(.invalidArgument, "the calendar has no \(form) \(digits)")
    }
    return start.milliseconds
  }
}

extension TextBase {
  /// How many digits a number has without zeros before it; 1 for 0.
  func significantDigits(of number: UInt128) -> Int { self.digits(of: number, width: 1).count }
}
