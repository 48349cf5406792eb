import Foundation
import MidCore
import Testing

@testable import MidServer

@Suite("Settings of forms and opaque ids")
struct FormsConfigurationTests {
  private static let key = "000102030405060708090a0b0c0d0e0f"

  private func load(_ flags: [String: String]) throws -> ServerConfiguration.Forms {
    try ServerConfiguration.load(flags: flags).forms
  }

  private func reasons(_ flags: [String: String]) -> String {
    #expect(throws: ConfigurationErrors.self) { try self.load(flags) }?.description ?? ""
  }

  private func reasons(_ flags: [String: String], environment: [String: String]) -> String {
    let error = #expect(throws: ConfigurationErrors.self) {
      _ = try self.load(flags).make(environment: environment)
    }
    return error?.description ?? ""
  }

  @Test func `without settings there is nothing`() throws {
    let forms = try self.load([:])
    #expect(forms.templates.isEmpty && forms.opaqueTags.isEmpty && forms.keys.isEmpty && forms.slotBits == 4)
    #expect(try !forms.make(environment: [:]).knows(.default))
  }

  @Test func `forms, tags and keys are lists`() throws {
    let forms = try self.load([
      "text.forms": "orders=ORD-{day}-{decimal:10}, a=b={opaque:hex}", "opaque.tags": "invoices, a=53",
      "opaque.keys": "0=env:OLD,3=file:/run/new.key", "opaque.current": "3",
    ])
    #expect(forms.templates[try Tag("orders")]?.description == "ORD-{day}-{decimal:10}")
    #expect(forms.templates[try Tag("a")]?.description == "b={opaque:hex}")
    #expect(forms.opaqueTags == [try Tag("invoices"): 63, try Tag("a"): 53])
    #expect(forms.keys == [0: .environment("OLD"), 3: .file("/run/new.key")])
    #expect(forms.currentSlot == 3)
  }

  @Test(arguments: [
    "orders", "orders=", "orders={octal}", "=x{decimal}", "a={decimal},a={hex}", "a={decimal},", "a={decimal",
    "a=x{decimal}y",
  ])
  func `other forms are refused`(text: String) {
    #expect(self.reasons(["text.forms": text]).contains("TAG=FORM"))
  }

  @Test(arguments: [
    ("a={hex},b={decimal:65},c={hex}", "('b={decimal:65}': text form: padding takes 1 to 64 digits, not 65)"),
    ("a={hex},b", "('b' has no =)"), ("a={hex},a={hex}", "(tag 'a' is there twice)"),
    ("a={octal}", "('a={octal}': a form has no digits 'octal')"),
  ])
  func `which form is none, and why, is told`(text: String, reason: String) {
    #expect(self.reasons(["text.forms": text]).contains(reason), "\(self.reasons(["text.forms": text]))")
  }

  @Test func `a key that stands where its place should is shown nowhere`() {
    let key = Self.key + Self.key
    for text in [
      "0=file:\(key)", "0=env:\(key)", "0=file:/run/\(key).key", "0=file:/x,\(key)=file:/y", "\(key)=file:/x",
      "0=\(key)",
    ] {
      let reasons =
        (try? self.load(["opaque.tags": "a", "opaque.keys": text])) == nil
        ? self.reasons(["opaque.tags": "a", "opaque.keys": text])
        : self.reasons(["opaque.tags": "a", "opaque.keys": text], environment: [:])
      #expect(reasons.contains("opaque.keys") && !reasons.contains(key.prefix(16)), "\(reasons)")
    }
    let current = self.reasons(["opaque.current": key])
    #expect(current.contains("<hidden>") && !current.contains(key.prefix(16)))
    #expect("a \(Self.key)! \(Self.key.dropLast())".hidingKeys == "a <hidden>! \(Self.key.dropLast())")
  }

  @Test(arguments: ["a=64", "a=", "a,a", "a,,b", ",", "=53"])
  func `other opaque tags are refused`(text: String) {
    #expect(self.reasons(["opaque.tags": text, "opaque.keys": "0=env:K"]).contains("TAG=53"))
  }

  @Test(arguments: [
    "000102030405060708090a0b0c0d0e0f", "0=000102030405060708090a0b0c0d0e0f", "16=env:A", "0=env:", "0=file:",
    "0=env:MID_KEY", "0=env:A,0=env:B", "x=env:A", "0=env:A=B", "0=http:x",
  ])
  func `other keys are refused, and a key that stands there is not shown`(text: String) {
    let reasons = self.reasons(["opaque.keys": text])
    #expect(reasons.contains("SLOT=file:PATH"))
    #expect(!reasons.contains(Self.key))
  }

  @Test func `what does not go together is told all at once`() {
    let reasons = self.reasons([
      "text.forms": "orders={opaque:hex}", "opaque.tags": "invoices", "opaque.slot_bits": "1", "opaque.current": "1",
    ])
    #expect(reasons.contains("text.forms: the form of tag 'orders' is opaque, and opaque.tags has no such tag"))
    #expect(reasons.contains("opaque.tags: needs opaque.keys"))
    #expect(reasons.contains("opaque.current: opaque.keys has no slot 1"))
    #expect(self.reasons(["opaque.keys": "0=env:A,5=env:B"]).contains("opaque.current: is needed"))
    #expect(
      self.reasons(["opaque.keys": "2=env:A", "opaque.slot_bits": "1"]).contains("there is no slot 2"))
  }

  @Test(arguments: [
    (nil, "no environment variable OPAQUE"), ("", "hexadecimal digits"), ("00", "hexadecimal digits"),
    ("zz0102030405060708090a0b0c0d0e0f", "hexadecimal digits"),
    (key + "00", "hexadecimal digits"),
  ])
  func `a key that is none is told by its slot, and not shown`(value: String?, reason: String) {
    let environment = value.map { ["OPAQUE": $0] } ?? [:]
    let reasons = self.reasons(["opaque.tags": "a", "opaque.keys": "7=env:OPAQUE"], environment: environment)
    #expect(reasons.contains("opaque.keys: slot 7: ") && reasons.contains(reason))
    if let value, value.count > 2 { #expect(!reasons.contains(value)) }
  }

  @Test func `one key in two slots is a mistake`() {
    let reasons = self.reasons(
      ["opaque.tags": "a", "opaque.keys": "0=env:A,1=env:B", "opaque.current": "0"],
      environment: ["A": Self.key, "B": Self.key.uppercased()])
    #expect(reasons.contains("two slots have the same key"))
  }

  @Test func `files and variables hold the same keys, and others who may read one are seen`() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "mid-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appending(path: "key").path()
    try Data((Self.key + "\n").utf8).write(to: URL(filePath: path))
    let tag = try Tag("a")
    func text(_ reference: String) throws -> String {
      try self.load(["opaque.tags": "a", "opaque.keys": "0=\(reference)"]).make(environment: ["K": Self.key])
        .text(of: 42, .opaque, tag: tag, at: 0)
    }
    #expect(try text("file:\(path)") == text("env:K"))
    for (mode, isOpen) in [(0o600, false), (0o640, true), (0o604, true), (0o400, false)] {
      try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
      #expect(OpaqueKeyReference.file(path).isOpenToOthers == isOpen)
    }
    #expect(
      self.reasons(["opaque.keys": "0=file:\(path).none"], environment: [:]).contains("no such file"))
  }
}
