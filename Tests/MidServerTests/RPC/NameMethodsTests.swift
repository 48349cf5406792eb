import MidCore
import MidTestKit
import Testing

@testable import MidRPC
@testable import MidServer

@Suite("Ids made of names, over a socket", .timeLimit(.minutes(10)))
struct NameMethodsTests {
  private static let one = "/mid.v1.IDService/GenerateID"
  private static let many = "/mid.v1.IDService/GenerateBatch"
  // RFC 9562, A.2 and A.4.
  private static let known = [
    "uuid3": "5df41881-3aed-3515-88a7-2f4a814cf09e", "uuid5": "2ed6657d-e927-568b-95e1-2665a8aea6a2",
  ]

  @Test(arguments: ["uuid3", "uuid5"]) func `a name gives the id of the standard's example, alone and among others`(
    mode: String
  ) async throws {
    try await IDServer.with { server, client in
      for namespace in ["dns", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"] {
        let request = GenerateIDRequest(mode: mode, namespace: namespace, name: "www.example.com")
        let reply = try await client.call(Self.one, request.encoded())
        #expect(reply.status == "0", "\(reply.text)")
        #expect(try GenerateIDResponse(decoding: reply.message).text == Self.known[mode])
      }
      for count: UInt32 in [0, 3] {
        let request = GenerateBatchRequest(
          mode: mode, count: count, namespace: "dns", names: ["a", "www.example.com", "a"])
        let texts = try GenerateBatchResponse(decoding: try await client.call(Self.many, request.encoded()).message)
          .texts
        #expect(texts.count == 3 && texts[1] == Self.known[mode] && texts[0] == texts[2] && texts[0] != texts[1])
      }
      let hex = GenerateIDRequest(mode: mode, format: "hex", namespace: "dns", name: "www.example.com")
      #expect(
        try GenerateIDResponse(decoding: try await client.call(Self.one, hex.encoded()).message).text
          == Self.known[mode]?.replacing("-", with: ""))
      #expect(server.registry.scrape().contains("id_generate_total{mode=\"\(mode)\"} 9"))
    }
  }

  @Test func `what can't be is refused`() async throws {
    try await IDServer.with(maximumBatch: 100) { _, client in
      for (request, part) in [
        (GenerateIDRequest(mode: "uuid5"), "namespace is ''; allowed: dns, oid, url, x500 or a UUID"),
        (GenerateIDRequest(mode: "uuid5", namespace: "DNS", name: "a"), "namespace is 'DNS'"),
        (GenerateIDRequest(mode: "uuid5", namespace: "dns"), "a name, which is missing"),
        (GenerateIDRequest(mode: "uuid3", format: "tag", namespace: "dns", name: "a"), "no format tag"),
      ] {
        let reply = try await client.call(Self.one, request.encoded())
        #expect(reply.status == "3" && reply.text.contains(part), "\(reply.text)")
      }
      let names = [String](repeating: "a", count: 101)
      for (request, part) in [
        (GenerateBatchRequest(mode: "uuid5", namespace: "dns"), "a name, which is missing"),
        (GenerateBatchRequest(mode: "uuid5", count: 2, namespace: "dns", names: ["a"]), "1 names and count is 2"),
        (GenerateBatchRequest(mode: "uuid5", namespace: "dns", names: names), "1 to 100 names"),
        (GenerateBatchRequest(mode: "uuid5", namespace: "dns", names: ["a", ""]), "which is missing"),
        (GenerateBatchRequest(mode: "uuid5", requestKey: [1], namespace: "dns", names: ["a"]), "request_key"),
      ] {
        let reply = try await client.call(Self.many, request.encoded())
        #expect(reply.status == "3" && reply.text.contains(part), "\(reply.text)")
      }
      let old = try await client.call("/pb.IDMaker/MakeIDService", IDRequest(mode: "uuid5").encoded())
      #expect(old.status == "3" && old.text.contains("pb.IDResponse has no field"))
    }
  }
}
