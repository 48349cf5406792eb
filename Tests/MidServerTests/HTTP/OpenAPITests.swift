import Foundation
import HTTPTypes
import Testing

@testable import MidServer

@Suite("The OpenAPI document")
struct OpenAPITests {
  private static func document() throws -> [String: Any] {
    let text = OpenAPIRoutes(maximumList: 70, maximumBatch: 9_000, maximumTickets: 50).document
    return try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
  }

  /// All `$ref`s in a value.
  private static func references(_ value: Any) -> [String] {
    if let object = value as? [String: Any] {
      return object.flatMap { key, value in
        key == "$ref" ? [value as? String ?? ""] : self.references(value)
      }
    }
    return (value as? [Any])?.flatMap { self.references($0) } ?? []
  }

  @Test func everyReferenceLeadsSomewhere() throws {
    let document = try Self.document()
    let references = Set(Self.references(document))
    #expect(references.count > 10)
    for reference in references {
      var value: Any? = document
      for name in reference.split(separator: "/").dropFirst() { value = (value as? [String: Any])?[String(name)] }
      #expect(value != nil, "\(reference)")
    }
  }

  @Test func everyPathOfItIsServedByTheMethodItNames() async throws {
    let door = try HTTPDoor()
    let paths = try #require(try Self.document()["paths"] as? [String: [String: Any]])
    #expect(paths.count == 25)
    // Tinyid's need a token's table; they are served by the real program in the system tests.
    for (path, methods) in paths where !path.hasPrefix("/tinyid/") {
      for method in methods.keys {
        let answer = try await door.ask(
          path.replacing("{key}", with: "default").replacing("{id}", with: "1")
            + (NameMode(rawValue: String(path.suffix(5))) == nil ? "" : "?namespace=dns&name=a"),
          method: method == "post" ? .post : .get
        )
        #expect(![404, 405, 501].contains(answer.status), "\(method) \(path): \(answer)")
      }
    }
  }

  @Test func theFormatsAreThoseThatSomeTagHas() throws {
    func formats(_ forms: TagForms) throws -> [String] {
      let text = OpenAPIRoutes(maximumList: 70, maximumBatch: 9_000, maximumTickets: 50, forms: forms).document
      let document = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
      let components = document?["components"] as? [String: Any]
      let parameters = components?["parameters"] as? [String: Any]
      let schema = (parameters?["format"] as? [String: Any])?["schema"] as? [String: Any]
      return try #require(schema?["enum"] as? [String])
    }
    #expect(try formats(.none) == ["decimal", "hex", "base36", "base62", "crockford", "crockford-check"])
    #expect(try formats(try TagFormsTests.make()) == IDFormat.names)
  }

  @Test func theLimitsAreTheServersOwn() throws {
    let text = OpenAPIRoutes(maximumList: 70, maximumBatch: 9_000, maximumTickets: 50).document
    #expect(text.components(separatedBy: "\"maximum\": 70,").count == 9)
    #expect(text.components(separatedBy: "\"maximum\": 9000}").count == 3)
    #expect(text.components(separatedBy: "\"maximum\": 50").count == 3)
    #expect(text.components(separatedBy: "more than 9000 is 9000").count == 3)
    let large = OpenAPIRoutes(maximumList: 70, maximumBatch: 1_000_000, maximumTickets: 50).document
    #expect(large.components(separatedBy: "more than 100000 is 100000").count == 3)
  }
}
