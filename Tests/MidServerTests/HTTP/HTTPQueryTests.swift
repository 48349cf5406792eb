import Testing

@testable import MidServer

@Suite("Queries and forms")
struct HTTPQueryTests {
  @Test(arguments: [
    ("", []), ("a=1", ["a", "1"]), ("a=1&b=2", ["a", "1", "b", "2"]), ("a", ["a", ""]), ("a=", ["a", ""]),
    ("=1", ["", "1"]), ("a=b=c", ["a", "b=c"]), ("&&a=1&", ["a", "1"]), ("a+b=c+d", ["a b", "c d"]),
    ("%61=%2B%20%26%3D", ["a", "+ &="]), ("a=%E4%BD%A0", ["a", "你"]), ("a=1&a=2", ["a", "1", "a", "2"]),
  ])
  func fieldsAreDecoded(_ text: String, _ expected: [String]) throws {
    #expect(try HTTPQuery(text).fields.flatMap { [$0.name, $0.value] } == expected)
  }

  @Test(arguments: ["a=%", "a=%4", "a=%4g", "a=%g4", "a=%ff", "%=1", "a=%c0%80", "a=%ed%a0%80"])
  func whatIsNoEncodingIsRefused(_ text: String) {
    #expect(throws: HTTPProblem.badRequest("the query is not percent-encoded UTF-8")) { try HTTPQuery(text) }
  }

  @Test func aPlusInAPathIsAPlus() {
    #expect(HTTPQuery.decoded("a+b%2Fc", isForm: false) == "a+b/c")
  }

  @Test func unknownAndRepeatedFieldsAreNamed() throws {
    try HTTPQuery("tag=x&count=1").check(allowed: ["tag", "count"])
    #expect(throws: HTTPProblem.badRequest("unknown query parameter 'cuont'; allowed: tag, count")) {
      try HTTPQuery("cuont=1").check(allowed: ["tag", "count"])
    }
    #expect(throws: HTTPProblem.badRequest("query parameter 'tag' is given twice")) {
      try HTTPQuery("tag=x&tag=x").check(allowed: ["tag"])
    }
  }
}
